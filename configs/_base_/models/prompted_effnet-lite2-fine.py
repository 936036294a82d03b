# As prompted_effnet-lite0.py, a larger backbone and maps at stride 2.
_base_ = './prompted_effnet-lite0.py'

channels = 32
model = dict(
    prompt=dict(loose=True),
    test_cfg=dict(threshold='tight'),
    backbone=dict(variant='lite2', out_stages=(1, 2, 3, 5, 7)),
    neck=dict(
        _delete_=True,
        type='mmboxcaseg.FineNeck',
        in_channels=[16, 24, 48, 120, 352],
        mixed_channels=64,
        out_channels=channels,
        norm_cfg=_base_.batch_norm,
    ),
    salient_head=dict(in_channels=channels),
)
