# RTMDet-Ins on proxy masks of the persons of the small real data, on a backbone whose ImageNet
# weights a package carries: for CPUs. The proxy file, by the network of the package:
#   python tools/generate_proxy_masks.py --ann data/coco_mini/annotations/instances_train.json \
#       --images data/coco_mini/train --out work_dirs/proxies/coco-mini.json
_base_ = './rtmdet-ins_s_coco.py'

proxy_file = 'work_dirs/proxies/coco-mini.json'
data_root = 'data/coco_mini/'
classes = ('person',)
max_epochs = 36
channels = 64
size = (320, 320)

model = dict(
    backbone=dict(
        _delete_=True, type='mmboxcaseg.EfficientNetLite', pretrained=True, out_stages=(3, 5, 7)
    ),
    neck=dict(
        in_channels=[40, 112, 320],
        out_channels=channels,
        num_csp_blocks=1,
        norm_cfg=dict(type='BN'),
    ),
    bbox_head=dict(
        num_classes=len(classes),
        in_channels=channels,
        feat_channels=channels,
        norm_cfg=dict(type='BN'),
    ),
)

grow = dict(_base_.grow, scale=size)
crop = dict(_base_.crop, crop_size=size)
pad = dict(_base_.pad, size=size)
train_pipeline = [*_base_.masks, grow]
train_pipeline += [crop, _base_.filter_boxes, _base_.colours, _base_.flip, pad, _base_.pack]
resize = dict(_base_.resize, scale=size)
annotations = dict(type='LoadAnnotations', with_bbox=True)
test_pipeline = [_base_.load, resize, pad, annotations, _base_.pack_test]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    pin_memory=False,
    dataset=dict(
        metainfo=dict(classes=classes),
        ann_file=proxy_file,
        data_prefix=dict(img=data_root + 'train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val/'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val.json')
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs, dynamic_intervals=None)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(interval=max_epochs), logger=dict(interval=10))
auto_scale_lr = dict(base_batch_size=4)
custom_hooks = []
randomness = dict(seed=0)
