# Table 5, RS: plain shuffling of boxes and salient images together. An epoch then has all boxes of
# COCO, 48 times as many patches as one of the fixed ratios, so 2 of them stand for 65 of those.
_base_ = '../../boxcaseg/hrnet_w48_coco.py'

max_epochs = 2

train_dataloader = dict(sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True))
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='PolyLR', power=0.9, end=max_epochs, by_epoch=True, convert_to_iter_based=True)
]
