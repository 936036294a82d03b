# As coco-mini_prompted.py, boxes as people draw them, patches of 96 to 192 pixels.
_base_ = './coco-mini_prompted.py'

patch_size = 192
sizes = (96, 128, 160, 192)
test_size = 160
# A slack may be as large as the least of them.
margins = (0.12, 0.18, 0.25)

salient_dataset = dict(_base_.salient_dataset, data_root='data/duts_single')

move = dict(type='mmboxcaseg.RandomMoveBox', prob=0.5, shift=0.12, scale=(0.85, 1.2))
crop = dict(_base_.crop, size=patch_size)
clutter = dict(_base_.clutter, dataset=salient_dataset)
box_clutter = dict(_base_.box_clutter, dataset=salient_dataset)
blur = dict(_base_.blur, size=(20, patch_size))
test_crop = dict(_base_.test_crop, size=test_size)
crops = [dict(test_crop, margin=margin) for margin in margins]
views = dict(type='TestTimeAug', transforms=[crops, _base_.flips, [_base_.pack]])
salient_pipeline = [
    *(_base_.load, clutter, _base_.truncate, move, crop, _base_.colours, blur),
    *_base_.end,
]
box_pipeline = [_base_.load, box_clutter, move, crop, _base_.colours, *_base_.end]
test_pipeline = [_base_.load, test_crop, _base_.pack]
tta_pipeline = [_base_.load, views]

salient_patches = dict(salient_dataset, pipeline=salient_pipeline)
train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    dataset=dict(salient_patches, _delete_=True),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(quality=True)
test_evaluator = val_evaluator
