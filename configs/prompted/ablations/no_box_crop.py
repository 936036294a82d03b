# Salient patches are cropped anywhere, as in the paper, not around their object.
_base_ = './all.py'

crop = dict(type='mmboxcaseg.RandomSalientPatch', resize=144, size=_base_.patch_size)
salient_pipeline = [*_base_.salient_pipeline[:3], crop, *_base_.salient_pipeline[4:]]
train_dataloader = dict(dataset=dict(pipeline=salient_pipeline))
