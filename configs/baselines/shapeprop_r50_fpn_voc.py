# ShapeProp with ResNet-50 on VOC 2012 + SBD (Table 1, B+S); see shapeprop_r101_fpn_voc.py.
_base_ = './shapeprop_r101_fpn_voc.py'

weights = 'open-mmlab://detectron2/resnet50_caffe'
model = dict(backbone=dict(depth=50, init_cfg=dict(checkpoint=weights)))
