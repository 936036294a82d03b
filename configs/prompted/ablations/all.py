# The first round in short, with all of its parts. The other configs here change one thing of it
# each, but for no_boxes.py, which is a second round.
_base_ = '../effnet-lite0_coco-mini.py'

max_epochs = 4
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], T_max=max_epochs),
]
