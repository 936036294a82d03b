# Patches of the paper: jittered boxes and salient crops of 288x288, test boxes of 320x320.
box_pipeline = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(type='mmboxcaseg.RandomBoxPatch', size=288, shift=0.25, scale=(0.5, 1.5)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmboxcaseg.PackPatchInputs'),
]
salient_pipeline = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(type='mmboxcaseg.RandomSalientPatch', resize=320, size=288),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmboxcaseg.PackPatchInputs'),
]
test_pipeline = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(type='mmboxcaseg.BoxPatch', size=320),
    dict(type='mmboxcaseg.PackPatchInputs'),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    # For the copy to a GPU; without one torch warns of it.
    pin_memory=__import__('torch').cuda.is_available(),
    # Workers are seeded anew each epoch, so that a resumed run draws what it would have drawn.
    persistent_workers=False,
    worker_init_fn=dict(type='mmboxcaseg.seed_worker'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmengine.ConcatDataset',
        ignore_keys=['supervision', 'classes'],
    ),
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
val_evaluator = dict(type='mmboxcaseg.BoxMaskIoUMetric')
test_evaluator = val_evaluator
