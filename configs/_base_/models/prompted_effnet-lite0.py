# One head, which is told the box and the other boxes of the image, on an EfficientNet-Lite0.
norm_cfg = dict(type='BN', momentum=0.01)
channels = 64

model = dict(
    type='mmboxcaseg.BoxCaseg',
    data_preprocessor=dict(
        type='mmboxcaseg.PatchPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    channels_last=True,
    prompt=dict(type='mmboxcaseg.BoxPrompt', own=True, others=True),
    backbone=dict(type='mmboxcaseg.EfficientNetLite', variant='lite0', pretrained=True),
    neck=dict(
        type='ChannelMapper',
        in_channels=[24, 40, 112, 320],
        out_channels=channels,
        kernel_size=1,
        norm_cfg=norm_cfg,
        num_outs=4,
    ),
    # A map that copies the box has no multiple-instance loss: the weak head would learn nothing,
    # and the transferred head is made from it.
    weak_head=None,
    salient_head=dict(type='mmboxcaseg.PatchHead', in_channels=4 * channels, norm_cfg=norm_cfg),
    transferred_head=None,
    loss_pixel=dict(type='mmboxcaseg.PixelLoss', dice_weight=1.0),
    test_cfg=dict(threshold='best'),
)
