# Small real data: patches small enough for two cores.
_base_ = ['./patches.py', './coco-mini.py']

patch_size = 128

salient_dataset = dict(type='mmboxcaseg.SalientObjectDataset', data_root=_base_.salient_root)

box_crop = dict(_base_.box_crop, size=patch_size)
# Most of a test patch is object, most of a salient image is not: with as few patches as here the
# pixel loss must see salient objects cropped like boxes too, which the paper does not do.
salient_crop = dict(
    type='RandomChoice',
    prob=[0.3, 0.7],
    transforms=[
        [dict(type='mmboxcaseg.RandomSalientPatch', resize=144, size=patch_size)],
        [box_crop],
    ],
)
test_crop = dict(_base_.test_crop, size=patch_size)
box_pipeline = [_base_.load, box_crop, _base_.flip, _base_.pack]
salient_pipeline = [_base_.load, salient_crop, _base_.flip, _base_.pack]
test_pipeline = [_base_.load, test_crop, _base_.pack]

box_patches = dict(_base_.mini_boxes, pipeline=box_pipeline)
salient_patches = dict(salient_dataset, pipeline=salient_pipeline)
train_dataloader = dict(
    num_workers=1,
    sampler=dict(_delete_=True, type='mmboxcaseg.RatioSampler', batch_size=16, ratio=(9, 7)),
    dataset=dict(datasets=[box_patches, salient_patches]),
)
val_dataloader = dict(
    num_workers=1,
    persistent_workers=False,
    dataset=dict(_base_.mini_val_boxes, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(by_size=True)
test_evaluator = val_evaluator
