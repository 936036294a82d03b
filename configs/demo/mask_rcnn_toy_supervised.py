# Fully supervised Mask R-CNN on the synthetic set, the twin of proxy_mask_rcnn_toy.py. Small, and
# trained from scratch, so nothing is frozen.
_base_ = [
    __import__('mmboxcaseg').config_path('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'),
    '../_base_/datasets/instances.py',
]

data_root = 'work_dirs/demo_full/data/'
classes = ('star', 'crescent', 'blob', 'bracket', 'triangle', 'ellipse')
max_epochs = 16
channels = 64

roi_layer = dict(sampling_ratio=1)
model = dict(
    backbone=dict(depth=18, base_channels=32, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=channels, num_outs=4),
    rpn_head=dict(
        in_channels=channels,
        feat_channels=channels,
        anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels, roi_layer=roi_layer),
        bbox_head=dict(in_channels=channels, fc_out_channels=256, num_classes=len(classes)),
        mask_roi_extractor=dict(out_channels=channels, roi_layer=roi_layer),
        mask_head=dict(
            num_convs=2,
            in_channels=channels,
            conv_out_channels=channels,
            num_classes=len(classes),
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=200, max_per_img=100), rcnn=dict(sampler=dict(num=48))
    ),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100)),
)

resize = dict(_base_.resize, scale=(128, 128))
flip = dict(_base_.flip, prob=0.75, direction=['horizontal', 'vertical', 'diagonal'])
train_pipeline = [_base_.load, _base_.annotations, resize, flip, _base_.pack]
test_pipeline = [_base_.load, resize, _base_.annotations, _base_.pack_test]
loader = dict(num_workers=0, persistent_workers=False)
toy = dict(data_root=data_root, metainfo=dict(classes=classes))
train_dataloader = dict(
    loader,
    batch_size=4,
    dataset=dict(
        toy,
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    loader,
    batch_size=8,
    dataset=dict(
        toy,
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val/'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val.json')
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs, val_interval=4)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.01),
    clip_grad=dict(max_norm=10),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True),
]
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=max_epochs, max_keep_ckpts=1)
)
randomness = dict(seed=0)
