# The small HRNetV2-W18 from scratch, on the small real data.
_base_ = [
    '../_base_/models/boxcaseg_hrnet-w48.py',
    '../_base_/datasets/coco-mini_patches.py',
    '../_base_/schedules/adamw_8e.py',
    '../_base_/default_runtime.py',
]

norm_cfg = dict(type='BN', momentum=0.01)
# 18 + 36 + 72 + 144 channels.
head = dict(in_channels=270, norm_cfg=norm_cfg)

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
    weak_head=head,
    salient_head=head,
    transferred_head=head,
    test_cfg=dict(maps=['weak', 'salient', 'transferred', 'fused']),
)
