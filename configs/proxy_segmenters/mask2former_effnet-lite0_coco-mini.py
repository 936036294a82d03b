# Mask2Former on proxy masks of the persons of the small real data, on a backbone whose ImageNet
# weights a package carries, with few queries and layers: for CPUs. The proxy file comes from the
# command in rtmdet-ins_effnet-lite0_coco-mini.py. Queries take far longer to train than this.
_base_ = ['./mask2former_r50_coco.py', '../_base_/datasets/coco-mini_persons.py']

classes = _base_.persons.metainfo.classes
max_epochs = 36
queries = 30
size = (320, 320)

model = dict(
    data_preprocessor=dict(batch_augments=None),
    backbone=dict(_delete_=True, type='mmboxcaseg.EfficientNetLite', pretrained=True),
    panoptic_head=dict(
        in_channels=[24, 40, 112, 320],
        num_things_classes=len(classes),
        num_queries=queries,
        pixel_decoder=dict(encoder=dict(num_layers=2)),
        transformer_decoder=dict(num_layers=3),
        loss_cls=dict(class_weight=[1.0, 0.1]),
    ),
    panoptic_fusion_head=dict(num_things_classes=len(classes)),
    train_cfg=dict(num_points=3136),
    # One class: there are no more detections than queries.
    test_cfg=dict(max_per_image=queries),
)

resize = dict(_base_.resize, scale=size)
train_pipeline = [*_base_.masks, _base_.flip, resize, _base_.pack]
test_pipeline = [_base_.load, resize, _base_.annotations, _base_.pack_test]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(_base_.person_proxies, pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=1,
    persistent_workers=False,
    dataset=dict(_base_.val_persons, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = _base_.person_evaluator
test_evaluator = val_evaluator

train_cfg = dict(
    _delete_=True, type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=max_epochs
)
param_scheduler = _base_.short_schedule
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=max_epochs), logger=dict(interval=10))
log_processor = dict(by_epoch=True)
auto_scale_lr = dict(base_batch_size=4)
randomness = dict(seed=0)
