# Boxes and salient objects with what is around them, at the paper's size. Configs give the roots.
crop = dict(type='mmboxcaseg.RandomBoxPatch', size=288, shift=0.1, scale=(1.05, 1.7), inside=False)
box_pipeline = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    crop,
    dict(type='PhotoMetricDistortion', hue_delta=9),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmboxcaseg.PackPatchInputs'),
]
salient_dataset = dict(type='mmboxcaseg.SalientObjectDataset', data_root='data/duts_single')
salient_pipeline = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(
        type='mmboxcaseg.PasteClutter', dataset=salient_dataset, prob=0.8, max_num=3, twin_prob=0.3
    ),
    dict(type='mmboxcaseg.RandomTruncate', prob=0.2),
    crop,
    dict(type='PhotoMetricDistortion', hue_delta=9),
    dict(type='mmboxcaseg.RandomDownscale', size=(20, 288), prob=0.6),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmboxcaseg.PackPatchInputs'),
]
test_pipeline = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(type='mmboxcaseg.BoxPatch', size=320, margin=0.15),
    dict(type='mmboxcaseg.PackPatchInputs'),
]
tta_pipeline = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='mmboxcaseg.BoxPatch', size=320, margin=0.08),
                dict(type='mmboxcaseg.BoxPatch', size=320, margin=0.15),
                dict(type='mmboxcaseg.BoxPatch', size=320, margin=0.25),
            ],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='mmboxcaseg.PackPatchInputs')],
        ],
    ),
]
tta_model = dict(type='mmboxcaseg.BoxCasegTTAModel')

train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    pin_memory=__import__('torch').cuda.is_available(),
    persistent_workers=False,
    worker_init_fn=dict(type='mmboxcaseg.seed_worker'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(salient_dataset, pipeline=salient_pipeline),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmboxcaseg.BoxInstanceDataset',
        with_segmentation=True,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmboxcaseg.BoxMaskIoUMetric', by_size=True)
test_evaluator = val_evaluator
