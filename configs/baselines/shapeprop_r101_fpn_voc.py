# ShapeProp on VOC 2012 + SBD (Table 1, B+S): boxes teach saliency, salient images how it spreads
# to a shape, which is the mask head's prior. Batches and schedule are those of
# bbtp-salient_r101_fpn_voc.py.
_base_ = './bbtp-salient_r101_fpn_voc.py'

model = dict(
    roi_head=dict(
        type='mmboxcaseg.ShapePropRoIHead',
        mask_head=dict(
            _delete_=True,
            type='mmboxcaseg.ShapePropMaskHead',
            class_agnostic=True,
            num_classes=len(_base_.classes),
        ),
    )
)
