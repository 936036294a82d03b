# The network is not told the other boxes of the image.
_base_ = './all.py'

model = dict(neighbours=False)

salient_pipeline = [*_base_.salient_pipeline[:6], *_base_.salient_pipeline[7:]]
test_pipeline = [*_base_.test_pipeline[:2], _base_.test_pipeline[3]]
views = _base_.tta_pipeline[1].transforms
tta_pipeline = [
    _base_.tta_pipeline[0],
    dict(type='TestTimeAug', transforms=[views[0], *views[2:]]),
]
train_dataloader = dict(dataset=dict(pipeline=salient_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
