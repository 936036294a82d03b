# Proxy Mask R-CNN with ResNet-50 on VOC 2012 + SBD (Table 1); see r101_fpn_voc.py.
_base_ = './r101_fpn_voc.py'

model = dict(backbone=dict(depth=50, init_cfg=dict(checkpoint='torchvision://resnet50')))
