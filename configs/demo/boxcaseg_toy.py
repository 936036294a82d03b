# A small HRNet on the synthetic set of tools/make_toy_dataset.py; minutes on two cores. For a set
# elsewhere tools/demo_full.py writes configs with its path.
_base_ = '../boxcaseg/hrnet_w18s_coco-mini.py'

data_root = 'work_dirs/demo_full/data'
patch_size = 64
max_epochs = 24
head = dict(in_channels=16 + 32 + 64 + 128)
model = dict(
    channels_last=False,
    backbone=dict(
        extra=dict(
            stage1=dict(num_blocks=(1,), num_channels=(32,)),
            stage2=dict(num_blocks=(1, 1), num_channels=(16, 32)),
            stage3=dict(num_modules=1, num_blocks=(1, 1, 1), num_channels=(16, 32, 64)),
            stage4=dict(num_modules=1, num_blocks=(1, 1, 1, 1), num_channels=(16, 32, 64, 128)),
        ),
    ),
    weak_head=head,
    salient_head=head,
    transferred_head=head,
)

box_crop = dict(_base_.box_crop, size=patch_size)
# As for coco-mini: most of a test patch is object, most of a salient image is not.
salient_crop = dict(
    _base_.salient_crop,
    prob=[0.5, 0.5],
    transforms=[
        [dict(type='mmboxcaseg.RandomSalientPatch', resize=72, size=patch_size)],
        [box_crop],
    ],
)
flip = dict(_base_.flip, prob=0.75, direction=['horizontal', 'vertical', 'diagonal'])
test_crop = dict(_base_.test_crop, size=patch_size)
box_pipeline = [_base_.load, box_crop, flip, _base_.pack]
salient_pipeline = [_base_.load, salient_crop, flip, _base_.pack]
test_pipeline = [_base_.load, test_crop, _base_.pack]
box_patches = dict(
    _base_.box_patches,
    data_root=data_root,
    ann_file='annotations/boxes_train.json',
    pipeline=box_pipeline,
)
salient_patches = dict(
    _base_.salient_patches, data_root=f'{data_root}/salient', pipeline=salient_pipeline
)
train_dataloader = dict(num_workers=0, dataset=dict(datasets=[box_patches, salient_patches]))
val_dataloader = dict(num_workers=0, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(by_size=False)
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(lr=2e-3))
train_cfg = dict(max_epochs=max_epochs, val_interval=6)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=40, by_epoch=False),
    dict(type='PolyLR', power=0.9, by_epoch=True, convert_to_iter_based=True),
]
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=max_epochs, max_keep_ckpts=1)
)
