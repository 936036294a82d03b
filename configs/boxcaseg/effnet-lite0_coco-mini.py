# EfficientNet-Lite0 with the ImageNet weights that a package carries, on the small real data.
_base_ = [
    '../_base_/models/boxcaseg_hrnet-w48.py',
    '../_base_/datasets/coco-mini_patches.py',
    '../_base_/schedules/adamw_8e.py',
    '../_base_/default_runtime.py',
]

channels = 64
norm_cfg = dict(type='BN', momentum=0.01)

model = dict(
    channels_last=True,
    backbone=dict(_delete_=True, type='mmboxcaseg.EfficientNetLite', pretrained=True),
    # Four scales of 64 channels instead of 24 + 40 + 112 + 320: heads cost their square.
    neck=dict(
        type='ChannelMapper',
        in_channels=[24, 40, 112, 320],
        out_channels=channels,
        kernel_size=1,
        norm_cfg=norm_cfg,
        num_outs=4,
    ),
    weak_head=dict(in_channels=4 * channels, norm_cfg=norm_cfg),
    salient_head=dict(in_channels=4 * channels, norm_cfg=norm_cfg),
    transferred_head=dict(in_channels=4 * channels, norm_cfg=norm_cfg),
    test_cfg=dict(maps=['weak', 'salient', 'transferred', 'fused']),
)

# Salient objects cropped and blurred like box patches, or else what the pixel loss teaches fits
# the boxes less and less as the training goes on (docs/results.md).
salient_pipeline = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(type='mmboxcaseg.RandomBoxPatch', size=_base_.patch_size),
    dict(type='mmboxcaseg.RandomDownscale', size=(20, _base_.patch_size), prob=0.6),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmboxcaseg.PackPatchInputs'),
]
train_dataloader = dict(
    dataset=dict(
        datasets=[
            _base_.train_dataloader.dataset.datasets[0],
            dict(
                type='mmboxcaseg.SalientObjectDataset',
                data_root=_base_.salient_root,
                pipeline=salient_pipeline,
            ),
        ]
    )
)

max_epochs = 6
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=100, by_epoch=False),
    dict(type='PolyLR', power=0.9, end=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
