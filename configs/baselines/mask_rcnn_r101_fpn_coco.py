# Fully supervised Mask R-CNN on COCO 2017, the twin of proxy_mask_rcnn/r101_fpn_coco.py: mmdet's
# own, but for the way images are read.
_base_ = [
    __import__('mmboxcaseg').config_path('mmdet::mask_rcnn/mask-rcnn_r101_fpn_1x_coco.py'),
    '../_base_/datasets/instances.py',
]

train_pipeline = [_base_.load, _base_.annotations, _base_.resize, _base_.flip, _base_.pack]
test_pipeline = [_base_.load, _base_.resize, _base_.annotations, _base_.pack_test]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
