# RTMDet-Ins on proxy masks of COCO 2017: mmdet's config, but that masks of a low quality teach
# nothing, while their boxes and classes do. The proxy file, by the network of the package:
#   python tools/generate_proxy_masks.py --ann data/coco/annotations/instances_train2017.json \
#       --images data/coco/train2017 --out work_dirs/proxies/coco_train2017.json
_base_ = [
    __import__('mmboxcaseg').config_path('mmdet::rtmdet/rtmdet-ins_s_8xb32-300e_coco.py'),
    '../_base_/datasets/instances.py',
]

proxy_file = 'work_dirs/proxies/coco_train2017.json'
min_quality = 0.75
size = (640, 640)

model = dict(bbox_head=dict(type='mmboxcaseg.ProxyRTMDetInsSepBNHead'))

drop_masks = dict(_base_.drop_masks, min_agreement=0.0, min_quality=min_quality)
masks = [_base_.load, _base_.annotations, _base_.merge_masks, drop_masks]
crop = dict(type='RandomCrop', crop_size=size, recompute_bbox=True, allow_negative_crop=True)
colours = dict(type='YOLOXHSVRandomAug')
pad = dict(type='Pad', size=size, pad_val=dict(img=(114, 114, 114)))
filter_boxes = dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1))
grow = dict(type='RandomResize', ratio_range=(0.5, 2.0), keep_ratio=True)
train_pipeline = [
    *masks,
    dict(type='CachedMosaic', img_scale=size, pad_val=114.0),
    dict(grow, scale=(1280, 1280)),
    *(crop, colours, _base_.flip, pad),
    dict(
        type='CachedMixUp',
        img_scale=size,
        ratio_range=(1.0, 1.0),
        max_cached_images=20,
        pad_val=(114, 114, 114),
    ),
    *(filter_boxes, _base_.pack),
]
# Without mosaics, in the last 20 epochs.
train_pipeline_stage2 = [
    *masks,
    dict(grow, scale=size),
    *(crop, filter_boxes, colours, _base_.flip, pad, _base_.pack),
]
train_dataloader = dict(
    dataset=dict(
        _base_.proxies,
        ann_file=proxy_file,
        data_prefix=dict(img='data/coco/train2017/'),
        pipeline=train_pipeline,
    )
)
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='ExpMomentumEMA',
        momentum=0.0002,
        update_buffers=True,
        priority=49,
    ),
    dict(
        type='PipelineSwitchHook',
        switch_epoch=_base_.max_epochs - _base_.stage2_num_epochs,
        switch_pipeline=train_pipeline_stage2,
    ),
]
