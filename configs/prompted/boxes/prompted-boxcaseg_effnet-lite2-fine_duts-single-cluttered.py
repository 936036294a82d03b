# The left-out salient pairs with what boxes have and they lack; their calibration is the network's.
_base_ = './prompted-boxcaseg_effnet-lite2-fine_duts-single.py'

# Objects of the left-out pairs, too.
clutter = dict(_base_.clutter, dataset=dict(_base_.salient_dataset, test_mode=True))
pipeline = [_base_.load, clutter, _base_.truncate, _base_.box]
test_pipeline = [*pipeline, _base_.test_crop, _base_.colours, _base_.blur, _base_.pack]
tta_pipeline = [*pipeline, _base_.views]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
