# The small HRNetV2-W18 from scratch, on the small real data.
_base_ = [
    '../_base_/models/boxcaseg_hrnet-w48.py',
    '../_base_/datasets/coco-mini_patches.py',
    '../_base_/schedules/adamw_8e.py',
    '../_base_/default_runtime.py',
]

norm_cfg = dict(type='BN', momentum=0.01)

model = dict(
    channels_last=True,
    backbone=dict(
        norm_cfg=norm_cfg,
        extra=dict(
            stage1=dict(num_blocks=(2,)),
            stage2=dict(num_blocks=(2, 2), num_channels=(18, 36)),
            stage3=dict(num_modules=3, num_blocks=(2, 2, 2), num_channels=(18, 36, 72)),
            stage4=dict(num_modules=2, num_blocks=(2, 2, 2, 2), num_channels=(18, 36, 72, 144)),
        ),
        init_cfg=None,
    ),
    # 18 + 36 + 72 + 144 channels.
    weak_head=dict(in_channels=270, norm_cfg=norm_cfg),
    salient_head=dict(in_channels=270, norm_cfg=norm_cfg),
    transferred_head=dict(in_channels=270, norm_cfg=norm_cfg),
    test_cfg=dict(maps=['weak', 'salient', 'transferred', 'fused']),
)
