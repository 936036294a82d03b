# Fully supervised twin of proxy_mask_rcnn/r50_fpn_voc.py (Table 1); see mask_rcnn_r101_fpn_voc.py.
_base_ = './mask_rcnn_r101_fpn_voc.py'

weights = 'open-mmlab://detectron2/resnet50_caffe'
model = dict(backbone=dict(depth=50, init_cfg=dict(checkpoint=weights)))
