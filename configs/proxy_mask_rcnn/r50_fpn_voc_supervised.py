# Fully supervised twin of r50_fpn_voc.py (Table 1); see r101_fpn_voc_supervised.py.
_base_ = './r101_fpn_voc_supervised.py'

model = dict(
    backbone=dict(depth=50, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'))
)
