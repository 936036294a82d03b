# Boxes and salient objects with what is around them, at the paper's size.
_base_ = './prompted.py'

patch_size = 288
test_size = 320

salient_dataset = dict(type='mmboxcaseg.SalientObjectDataset', data_root='data/duts_single')

crop = dict(_base_.crop, size=patch_size)
clutter = dict(_base_.clutter, dataset=salient_dataset)
box_clutter = dict(_base_.box_clutter, dataset=salient_dataset)
blur = dict(_base_.blur, size=(20, patch_size))
test_crop = dict(_base_.test_crop, size=test_size)
crops = [dict(test_crop, margin=margin) for margin in _base_.margins]
views = dict(type='TestTimeAug', transforms=[crops, _base_.flips, [_base_.pack]])
salient_pipeline = [_base_.load, clutter, _base_.truncate, crop, _base_.colours, blur, *_base_.end]
box_pipeline = [_base_.load, box_clutter, crop, _base_.colours, *_base_.end]
test_pipeline = [_base_.load, test_crop, _base_.pack]
tta_pipeline = [_base_.load, views]

salient_patches = dict(salient_dataset, pipeline=salient_pipeline)
train_dataloader = dict(dataset=dict(salient_patches, _delete_=True))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
