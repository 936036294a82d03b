# Mask2Former on proxy masks of the persons of the small real data, on a backbone whose ImageNet
# weights a package carries, with few queries and layers: for CPUs. The proxy file comes from the
# command in rtmdet-ins_effnet-lite0_coco-mini.py. Queries take far longer to train than this.
_base_ = './mask2former_r50_coco.py'

proxy_file = 'work_dirs/proxies/coco-mini.json'
data_root = 'data/coco_mini/'
classes = ('person',)
max_epochs = 36
size = (320, 320)

model = dict(
    data_preprocessor=dict(batch_augments=None),
    backbone=dict(_delete_=True, type='mmboxcaseg.EfficientNetLite', pretrained=True),
    panoptic_head=dict(
        in_channels=[24, 40, 112, 320],
        num_things_classes=len(classes),
        num_queries=30,
        pixel_decoder=dict(encoder=dict(num_layers=2)),
        transformer_decoder=dict(num_layers=3),
        loss_cls=dict(class_weight=[1.0, 0.1]),
    ),
    panoptic_fusion_head=dict(num_things_classes=len(classes)),
    train_cfg=dict(num_points=3136),
)

resize = dict(_base_.resize, scale=size)
train_pipeline = [*_base_.masks, _base_.flip, resize, _base_.pack]
test_pipeline = [_base_.load, resize, _base_.annotations, _base_.pack_test]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        metainfo=dict(classes=classes),
        ann_file=proxy_file,
        data_prefix=dict(img=data_root + 'train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=1,
    persistent_workers=False,
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

train_cfg = dict(
    _delete_=True, type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=max_epochs
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=max_epochs), logger=dict(interval=10))
log_processor = dict(by_epoch=True)
auto_scale_lr = dict(base_batch_size=4)
randomness = dict(seed=0)
