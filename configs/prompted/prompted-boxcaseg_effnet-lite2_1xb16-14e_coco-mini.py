# As prompted-boxcaseg_effnet-lite0_1xb16-12e_coco-mini.py, a larger network, which later rounds
# train on.
_base_ = './prompted-boxcaseg_effnet-lite0_1xb16-12e_coco-mini.py'

model = dict(backbone=dict(variant='lite2'), neck=dict(in_channels=[24, 48, 120, 352]))
train_cfg = dict(max_epochs=14)
