# Boxes that are a tenth too narrow and too low.
_base_ = '../prompted-boxcaseg_effnet-lite2-fine_1xb16-1e_coco-mini-proxies.py'

move = dict(type='mmboxcaseg.MoveBox', scale=0.9)
test_pipeline = [_base_.load, move, _base_.test_crop, _base_.pack]
tta_pipeline = [_base_.load, move, _base_.views]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
model = dict(test_cfg=dict(slack=0.1))
