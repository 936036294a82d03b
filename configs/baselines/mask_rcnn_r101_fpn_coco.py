# Fully supervised Mask R-CNN on COCO 2017, the twin of proxy_mask_rcnn/r101_fpn_coco.py: mmdet's
# own, as it is.
_base_ = [
    __import__('mmboxcaseg').config_path('mmdet::mask_rcnn/mask-rcnn_r101_fpn_1x_coco.py'),
    '../_base_/datasets/instances.py',
]
