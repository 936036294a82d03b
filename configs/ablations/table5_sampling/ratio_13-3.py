# Table 5: box to salient patches of a batch.
_base_ = '../../boxcaseg/hrnet_w48_coco.py'

train_dataloader = dict(sampler=dict(ratio=(13, 3)))
