# BBTP on COCO 2017 (Table 2); see bbtp_r101_fpn_voc.py. The schedule is that of
# mask_rcnn_r101_fpn_coco.py.
_base_ = './mask_rcnn_r101_fpn_coco.py'

smooth_weight = 0.05

model = dict(
    roi_head=dict(
        mask_head=dict(
            type='mmboxcaseg.MILMaskHead',
            # The border as in BBTP's release.
            loss_mask=dict(
                _delete_=True,
                type='mmboxcaseg.MILLoss',
                smooth_weight=smooth_weight,
                border='zero',
            ),
        )
    )
)

# The file's masks, if it has any, are not loaded.
train_pipeline = [
    _base_.train_pipeline[0],
    dict(type='LoadAnnotations', with_bbox=True),
    *_base_.train_pipeline[2:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
