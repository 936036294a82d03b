# Fig. 4: HRNetV2-W48, its four scales concatenated to 48 + 96 + 192 + 384 = 720 channels.
norm_cfg = dict(type='SyncBN', momentum=0.01, requires_grad=True)

model = dict(
    type='mmboxcaseg.BoxCaseg',
    data_preprocessor=dict(
        type='mmboxcaseg.PatchPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        # mmseg's HRNet upsamples bilinearly; mmdet's is another network.
        type='mmseg.HRNet',
        norm_cfg=norm_cfg,
        norm_eval=False,
        extra=dict(
            stage1=dict(
                num_modules=1,
                num_branches=1,
                block='BOTTLENECK',
                num_blocks=(4,),
                num_channels=(64,),
            ),
            stage2=dict(
                num_modules=1,
                num_branches=2,
                block='BASIC',
                num_blocks=(4, 4),
                num_channels=(48, 96),
            ),
            stage3=dict(
                num_modules=4,
                num_branches=3,
                block='BASIC',
                num_blocks=(4, 4, 4),
                num_channels=(48, 96, 192),
            ),
            stage4=dict(
                num_modules=3,
                num_branches=4,
                block='BASIC',
                num_blocks=(4, 4, 4, 4),
                num_channels=(48, 96, 192, 384),
            ),
        ),
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://msra/hrnetv2_w48'),
    ),
    weak_head=dict(type='mmboxcaseg.PatchHead', in_channels=720, norm_cfg=norm_cfg),
    salient_head=dict(type='mmboxcaseg.PatchHead', in_channels=720, norm_cfg=norm_cfg),
    transferred_head=dict(type='mmboxcaseg.TransferredHead', in_channels=720, norm_cfg=norm_cfg),
    loss_mil=dict(type='mmboxcaseg.MILLoss', smooth_weight=0.05),
    loss_pixel=dict(type='mmboxcaseg.PixelLoss'),
    alpha=0.7,
    fuse='logit',
)
