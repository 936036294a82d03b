# As effnet-lite0_coco-mini.py, a larger network, which later rounds train on.
_base_ = './effnet-lite0_coco-mini.py'

model = dict(backbone=dict(variant='lite2'), neck=dict(in_channels=[24, 48, 120, 352]))

max_epochs = 14
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], T_max=max_epochs),
]
