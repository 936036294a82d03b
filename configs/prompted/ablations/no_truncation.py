# No object is cut by the border of its image.
_base_ = './all.py'

salient_pipeline = [*_base_.salient_pipeline[:2], *_base_.salient_pipeline[3:]]
train_dataloader = dict(dataset=dict(pipeline=salient_pipeline))
