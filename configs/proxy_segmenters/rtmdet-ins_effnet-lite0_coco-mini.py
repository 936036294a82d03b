# RTMDet-Ins on proxy masks of the persons of the small real data, on a backbone whose ImageNet
# weights a package carries: for CPUs. The proxy file, by the network of the package:
#   python tools/generate_proxy_masks.py --ann data/coco_mini/annotations/instances_train.json \
#       --images data/coco_mini/train --out work_dirs/proxies/coco-mini.json
_base_ = ['./rtmdet-ins_s_coco.py', '../_base_/datasets/coco-mini_persons.py']

classes = _base_.persons.metainfo.classes
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
    dataset=dict(_base_.person_proxies, pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(_base_.val_persons, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = _base_.person_evaluator
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs, dynamic_intervals=None)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = _base_.short_schedule
default_hooks = dict(checkpoint=dict(interval=max_epochs), logger=dict(interval=10))
auto_scale_lr = dict(base_batch_size=4)
custom_hooks = []
randomness = dict(seed=0)
