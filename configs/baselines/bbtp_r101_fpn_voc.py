# BBTP on VOC 2012 + SBD (Table 1): a Mask R-CNN whose mask head learns from the boxes alone, by
# multiple-instance learning. The schedule is that of mask_rcnn_r101_fpn_voc.py, so that the rows
# compare; BBTP's release has the same rate per image: 20,000 iterations with 8 images, learning
# rate 0.01, step at 15,000.
_base_ = './mask_rcnn_r101_fpn_voc.py'

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
