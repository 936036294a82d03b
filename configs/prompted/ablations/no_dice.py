# Cross-entropy alone, as in the paper.
_base_ = './all.py'

model = dict(loss_pixel=dict(dice_weight=0.0))
