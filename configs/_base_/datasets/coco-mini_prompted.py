# Small real data, boxes with what is around them. Salient patches alone: what a box says is in the
# prompt, so box patches teach once they have proxy masks.
data_root = 'data/coco_mini'
salient_root = 'data/duts_mini'
patch_size = 128

# Of ten salient pairs the first is left out, for a test.
salient_dataset = dict(
    type='mmboxcaseg.SalientObjectDataset',
    data_root=salient_root,
    indices=[index for index in range(2000) if index % 10],
)
box_dataset = dict(
    type='mmboxcaseg.BoxInstanceDataset',
    data_root=data_root,
    ann_file='annotations/instances_train.json',
    data_prefix=dict(img='train'),
)

crop = dict(
    type='mmboxcaseg.RandomBoxPatch', size=patch_size, shift=0.1, scale=(1.05, 1.7), inside=False
)
# What boxes have and salient objects lack: neighbours, objects in front, the image's border, few
# pixels.
salient_pipeline = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(
        type='mmboxcaseg.PasteClutter', dataset=salient_dataset, prob=0.8, max_num=3, twin_prob=0.3
    ),
    dict(type='mmboxcaseg.RandomTruncate', prob=0.2),
    crop,
    dict(type='PhotoMetricDistortion', hue_delta=9),
    dict(type='mmboxcaseg.RandomDownscale', size=(20, patch_size), prob=0.6),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmboxcaseg.PackPatchInputs'),
]
box_pipeline = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    crop,
    dict(type='PhotoMetricDistortion', hue_delta=9),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmboxcaseg.PackPatchInputs'),
]
test_pipeline = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(type='mmboxcaseg.BoxPatch', size=patch_size, margin=0.15),
    dict(type='mmboxcaseg.PackPatchInputs'),
]
tta_pipeline = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='mmboxcaseg.BoxPatch', size=patch_size, margin=0.08),
                dict(type='mmboxcaseg.BoxPatch', size=patch_size, margin=0.15),
                dict(type='mmboxcaseg.BoxPatch', size=patch_size, margin=0.25),
            ],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='mmboxcaseg.PackPatchInputs')],
        ],
    ),
]
tta_model = dict(type='mmboxcaseg.BoxCasegTTAModel')

train_dataloader = dict(
    batch_size=16,
    # A patch takes 2 ms, a batch of the network 250 ms: a worker costs more than it brings.
    num_workers=0,
    persistent_workers=False,
    worker_init_fn=dict(type='mmboxcaseg.seed_worker'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(salient_dataset, pipeline=salient_pipeline),
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
