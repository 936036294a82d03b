# What Mask R-CNN rows change with `tools/ablate.py --set mini`: a small Mask R-CNN with ImageNet
# weights, on the persons of the small real data, by far its largest class.
_base_ = '../../proxy_mask_rcnn/r101_fpn_coco-mini.py'

classes = ('person',)
max_epochs = 36
channels = 64

roi_layer = dict(sampling_ratio=1)
model = dict(
    backbone=dict(_delete_=True, type='mmboxcaseg.EfficientNetLite', pretrained=True),
    # The backbone ends its stages without activation; without a norm their scale is too large.
    neck=dict(
        in_channels=[24, 40, 112, 320],
        out_channels=channels,
        norm_cfg=dict(type='GN', num_groups=16),
    ),
    rpn_head=dict(in_channels=channels, feat_channels=channels),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels, roi_layer=roi_layer),
        bbox_head=dict(in_channels=channels, fc_out_channels=256, num_classes=len(classes)),
        mask_roi_extractor=dict(out_channels=channels, roi_layer=roi_layer),
        mask_head=dict(in_channels=channels, conv_out_channels=channels, num_classes=len(classes)),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=200), rcnn=dict(sampler=dict(num=64))
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=200)),
)

resize = dict(type='Resize', scale=(320, 320), keep_ratio=True)
train_pipeline = [_base_.load, _base_.annotations, _base_.merge_masks, _base_.drop_masks]
train_pipeline += [resize, _base_.flip, _base_.pack]
test_pipeline = [_base_.load, resize, _base_.annotations, _base_.pack_test]
train_dataloader = dict(
    batch_size=4,
    persistent_workers=False,
    dataset=dict(metainfo=dict(classes=classes), pipeline=train_pipeline),
)
val_dataloader = dict(
    persistent_workers=False,
    dataset=dict(metainfo=dict(classes=classes), pipeline=test_pipeline),
)
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=5e-4, weight_decay=0.01),
    clip_grad=dict(max_norm=10),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(interval=max_epochs))
auto_scale_lr = dict(base_batch_size=4)
randomness = dict(seed=0)
