# The patch ends about where the box does.
_base_ = './all.py'

crop = dict(_base_.crop, scale=(0.9, 1.1), shift=0.05)
salient_pipeline = [*_base_.salient_pipeline[:3], crop, *_base_.salient_pipeline[4:]]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(_base_.test_pipeline[1], margin=0.0),
    *_base_.test_pipeline[2:],
]
views = _base_.tta_pipeline[1].transforms
tta_pipeline = [
    _base_.tta_pipeline[0],
    dict(
        type='TestTimeAug',
        transforms=[[dict(view, margin=0.0) for view in views[0][:1]], *views[1:]],
    ),
]
train_dataloader = dict(dataset=dict(pipeline=salient_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
