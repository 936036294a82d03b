# EfficientNet-Lite0 with the ImageNet weights that a package carries.
_base_ = './boxcaseg_hrnet-w48.py'

channels = 64
batch_norm = dict(type='BN', momentum=0.01)
# Four scales of 64 channels instead of 24 + 40 + 112 + 320: heads cost their square.
head = dict(in_channels=4 * channels, norm_cfg=batch_norm)

model = dict(
    channels_last=True,
    backbone=dict(_delete_=True, type='mmboxcaseg.EfficientNetLite', pretrained=True),
    neck=dict(
        type='ChannelMapper',
        in_channels=[24, 40, 112, 320],
        out_channels=channels,
        kernel_size=1,
        norm_cfg=batch_norm,
        num_outs=4,
    ),
    weak_head=head,
    salient_head=head,
    transferred_head=head,
)
