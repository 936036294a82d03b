# Small real data, boxes and salient objects with what is around them.
_base_ = ['./prompted.py', './coco-mini.py']

patch_size = 128

# Of ten salient pairs the first is left out, for a test.
salient_dataset = dict(
    type='mmboxcaseg.SalientObjectDataset',
    data_root=_base_.salient_root,
    hold_out=10,
)
box_dataset = _base_.mini_boxes

crop = dict(_base_.crop, size=patch_size)
clutter = dict(_base_.clutter, dataset=salient_dataset)
box_clutter = dict(_base_.box_clutter, dataset=salient_dataset)
blur = dict(_base_.blur, size=(20, patch_size))
test_crop = dict(_base_.test_crop, size=patch_size)
crops = [dict(test_crop, margin=margin) for margin in _base_.margins]
views = dict(type='TestTimeAug', transforms=[crops, _base_.flips, [_base_.pack]])
salient_pipeline = [_base_.load, clutter, _base_.truncate, crop, _base_.colours, blur, *_base_.end]
box_pipeline = [_base_.load, box_clutter, crop, _base_.colours, *_base_.end]
test_pipeline = [_base_.load, test_crop, _base_.pack]
tta_pipeline = [_base_.load, views]

salient_patches = dict(salient_dataset, pipeline=salient_pipeline)
train_dataloader = dict(
    # A patch takes 2 ms, a batch of the network 250 ms: a worker costs more than it brings.
    num_workers=0,
    dataset=dict(salient_patches, _delete_=True),
)
val_dataloader = dict(
    num_workers=1,
    persistent_workers=False,
    dataset=dict(_base_.mini_val_boxes, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
