# The detector whose maps BBAM's masks are, for bbam_mask_rcnn_r101_fpn_voc.py: the Mask R-CNN of
# the other rows without its mask head, so that boxes alone teach it.
_base_ = './mask_rcnn_r101_fpn_voc.py'

model = dict(type='FasterRCNN', roi_head=dict(mask_roi_extractor=None, mask_head=None))

boxes = dict(type='LoadAnnotations', with_bbox=True)
train_pipeline = [_base_.load, boxes, _base_.resize, _base_.flip, _base_.pack]
test_pipeline = [_base_.load, _base_.resize, boxes, _base_.pack_test]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(
        type='mmboxcaseg.CocoAPMetric',
        ann_file='data/voc_sbd/annotations/instances_val.json',
        metric='bbox',
    )
]
test_evaluator = val_evaluator
