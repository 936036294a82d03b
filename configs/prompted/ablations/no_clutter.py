# No object covers or crowds another, so salient patches have no neighbours either.
_base_ = './all.py'

salient_pipeline = [*_base_.salient_pipeline[:1], *_base_.salient_pipeline[2:]]
train_dataloader = dict(dataset=dict(pipeline=salient_pipeline))
