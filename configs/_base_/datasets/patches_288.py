# Patches of the paper: jittered boxes and salient crops of 288x288, test boxes of 320x320. The
# paper names no flip; here both are flipped left to right, see docs/paper.md.
_base_ = './patches.py'

patch_size = 288
test_size = 320

salient_dataset = dict(type='mmboxcaseg.SalientObjectDataset', data_root='data/duts_single')

box_crop = dict(_base_.box_crop, size=patch_size)
salient_crop = dict(type='mmboxcaseg.RandomSalientPatch', resize=320, size=patch_size)
test_crop = dict(_base_.test_crop, size=test_size)
box_pipeline = [_base_.load, box_crop, _base_.flip, _base_.pack]
salient_pipeline = [_base_.load, salient_crop, _base_.flip, _base_.pack]
test_pipeline = [_base_.load, test_crop, _base_.pack]

salient_patches = dict(salient_dataset, pipeline=salient_pipeline)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
