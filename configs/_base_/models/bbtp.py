# What BBTP changes in a Mask R-CNN: its mask head learns from the boxes alone, with the border of
# the release. The masks of the file, if it has any, are not loaded.
mask_head = dict(
    type='mmboxcaseg.MILMaskHead',
    loss_mask=dict(_delete_=True, type='mmboxcaseg.MILLoss', smooth_weight=0.05, border='zero'),
)
boxes = dict(type='LoadAnnotations', with_bbox=True)
