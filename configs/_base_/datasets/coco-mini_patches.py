# Small real data: patches small enough for two cores.
data_root = 'data/coco_mini'
salient_root = 'data/duts_mini'
patch_size = 128

box_pipeline = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(type='mmboxcaseg.RandomBoxPatch', size=patch_size, shift=0.25, scale=(0.5, 1.5)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmboxcaseg.PackPatchInputs'),
]
# Most of a test patch is object, most of a salient image is not: with as few patches as here the
# pixel loss must see salient objects cropped like boxes too, which the paper does not do.
salient_pipeline = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(
        type='RandomChoice',
        prob=[0.3, 0.7],
        transforms=[
            [dict(type='mmboxcaseg.RandomSalientPatch', resize=144, size=patch_size)],
            [dict(type='mmboxcaseg.RandomBoxPatch', size=patch_size)],
        ],
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmboxcaseg.PackPatchInputs'),
]
test_pipeline = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(type='mmboxcaseg.BoxPatch', size=patch_size),
    dict(type='mmboxcaseg.PackPatchInputs'),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=False,
    worker_init_fn=dict(type='mmboxcaseg.seed_worker'),
    sampler=dict(type='mmboxcaseg.RatioSampler', batch_size=16, ratio=(9, 7)),
    dataset=dict(
        type='mmengine.ConcatDataset',
        ignore_keys=['supervision', 'classes'],
        datasets=[
            dict(
                type='mmboxcaseg.BoxInstanceDataset',
                data_root=data_root,
                ann_file='annotations/instances_train.json',
                data_prefix=dict(img='train'),
                pipeline=box_pipeline,
            ),
            dict(
                type='mmboxcaseg.SalientObjectDataset',
                data_root=salient_root,
                pipeline=salient_pipeline,
            ),
        ],
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmboxcaseg.BoxInstanceDataset',
        data_root=data_root,
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val'),
        with_segmentation=True,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmboxcaseg.BoxMaskIoUMetric', by_size=True)
test_evaluator = val_evaluator
