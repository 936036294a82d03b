# The detector for bbam_mask_rcnn_effnet-lite0_coco-mini.py, as in faster_rcnn_r101_fpn_voc.py.
_base_ = '../ablations/mini/mask_rcnn.py'

# Images and cells are .3 as wide as the paper's. For CPUs a twelfth of its steps, each twelve times
# as long, and a fifth of its proposals.
model = dict(
    type='FasterRCNN',
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
    test_cfg=dict(
        bbam=dict(stride=(5, 15), iterations=25, lr=0.24, samples=200, proposals=20),
    ),
)

boxes = dict(type='LoadAnnotations', with_bbox=True)
train_pipeline = [_base_.load, boxes, _base_.resize, _base_.flip, _base_.pack]
test_pipeline = [_base_.load, _base_.resize, boxes, _base_.pack_test]
train_dataloader = dict(
    dataset=dict(
        type='CocoDataset',
        data_root=_base_.data_root,
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
