# Salient patches stay sharp.
_base_ = './all.py'

salient_pipeline = [*_base_.salient_pipeline[:5], *_base_.salient_pipeline[6:]]
train_dataloader = dict(dataset=dict(pipeline=salient_pipeline))
