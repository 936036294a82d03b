# As r101_fpn_coco-mini.py, a small Mask R-CNN with the ImageNet weights that a package carries, for
# a CPU; what `mmboxcaseg masks` writes is made from it.
_base_ = './r101_fpn_coco-mini.py'

channels = 64
proposals = dict(nms_pre=200, max_per_img=100)
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
        bbox_roi_extractor=dict(out_channels=channels),
        bbox_head=dict(in_channels=channels, fc_out_channels=256),
        mask_roi_extractor=dict(out_channels=channels),
        mask_head=dict(in_channels=channels, conv_out_channels=channels),
    ),
    train_cfg=dict(rpn_proposal=proposals, rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=proposals),
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=4e-4, weight_decay=0.01),
    clip_grad=dict(max_norm=10),
)
