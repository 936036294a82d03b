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
custom_hooks = [*_base_.custom_hooks, dict(type='mmboxcaseg.ChannelsLastHook')]
