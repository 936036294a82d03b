# What all patches have in common, whatever their size: parts of their pipelines, and the loaders.
load = dict(type='mmboxcaseg.LoadPatchImage')
box_crop = dict(type='mmboxcaseg.RandomBoxPatch', shift=0.25, scale=(0.5, 1.5))
blur = dict(type='mmboxcaseg.RandomDownscale', prob=0.6)
test_crop = dict(type='mmboxcaseg.BoxPatch')
flip = dict(type='RandomFlip', prob=0.5)
pack = dict(type='mmboxcaseg.PackPatchInputs')

# Box and salient patches together.
both = dict(type='mmengine.ConcatDataset', ignore_keys=['supervision', 'classes'])
train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    # Workers are seeded anew each epoch, so that a resumed run draws what it would have drawn.
    persistent_workers=False,
    worker_init_fn=dict(type='mmboxcaseg.seed_worker'),
    collate_fn=dict(type='mmboxcaseg.collate_patches'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=both,
)
val_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='mmboxcaseg.BoxInstanceDataset', with_segmentation=True, test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmboxcaseg.BoxMaskIoUMetric')
test_evaluator = val_evaluator
