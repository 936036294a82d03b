# As proxy_mask_rcnn_toy.py, from ImageNet weights and with fewer proposals, which mmcv-lite sorts
# out slowly: a minute or two on one core.
_base_ = './proxy_mask_rcnn_toy.py'

max_epochs = 6
proposals = dict(nms_pre=20, max_per_img=40)

model = dict(
    backbone=dict(_delete_=True, type='mmboxcaseg.EfficientNetLite', pretrained=True),
    # The backbone ends its stages without activation; without a norm their scale is too large.
    neck=dict(in_channels=[24, 40, 112, 320], norm_cfg=dict(type='GN', num_groups=16)),
    train_cfg=dict(rpn_proposal=proposals, rcnn=dict(sampler=dict(num=24))),
    test_cfg=dict(rpn=proposals),
)
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
# Whoever is interrupted goes on from the last epoch.
default_hooks = dict(checkpoint=dict(interval=1))
