# The patch ends about where the box does.
_base_ = './prompted-boxcaseg_effnet-lite0_1xb16-4e_coco-mini.py'

crop = dict(_base_.crop, scale=(0.9, 1.1), shift=0.05)
test_crop = dict(_base_.test_crop, margin=0.0)
views = dict(type='TestTimeAug', transforms=[[test_crop], _base_.flips, [_base_.pack]])
salient_pipeline = [
    *(_base_.load, _base_.clutter, _base_.truncate, crop, _base_.colours, _base_.blur),
    *_base_.end,
]
test_pipeline = [_base_.load, test_crop, _base_.pack]
tta_pipeline = [_base_.load, views]
train_dataloader = dict(dataset=dict(pipeline=salient_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
