# Mask2Former on proxy masks of COCO 2017: mmdet's config, but that masks of a low quality teach
# nothing, while their classes do. The proxy file comes from the command in rtmdet-ins_s_coco.py.
_base_ = [
    __import__('mmboxcaseg').config_path('mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'),
    '../_base_/datasets/instances.py',
]

proxy_file = 'work_dirs/proxies/coco_train2017.json'
min_quality = 0.75

model = dict(panoptic_head=dict(type='mmboxcaseg.ProxyMask2FormerHead'))

load = dict(_base_.load, to_float32=True)
drop_masks = dict(_base_.drop_masks, min_agreement=0.0, min_quality=min_quality)
masks = [load, _base_.annotations, _base_.merge_masks, drop_masks]
train_pipeline = [
    *masks,
    _base_.flip,
    dict(
        type='RandomResize',
        scale=_base_.image_size,
        ratio_range=(0.1, 2.0),
        resize_type='Resize',
        keep_ratio=True,
    ),
    dict(
        type='RandomCrop',
        crop_size=_base_.image_size,
        crop_type='absolute',
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-5, 1e-5), by_mask=True),
    _base_.pack,
]
train_dataloader = dict(
    dataset=dict(
        _base_.proxies,
        ann_file=proxy_file,
        data_prefix=dict(img='data/coco/train2017/'),
        pipeline=train_pipeline,
    )
)
