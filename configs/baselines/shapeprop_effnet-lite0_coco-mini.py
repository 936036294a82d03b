# ShapeProp on the persons of the small real data, as in shapeprop_r101_fpn_voc.py; batches and
# schedule are those of bbtp-salient_effnet-lite0_coco-mini.py.
_base_ = './bbtp-salient_effnet-lite0_coco-mini.py'

model = dict(
    roi_head=dict(
        type='mmboxcaseg.ShapePropRoIHead',
        mask_head=dict(
            _delete_=True,
            type='mmboxcaseg.ShapePropMaskHead',
            class_agnostic=True,
            num_classes=len(_base_.classes),
            in_channels=_base_.channels,
            conv_out_channels=_base_.channels,
        ),
    )
)
