# Boxes that are a tenth too narrow and too low.
_base_ = '../effnet-lite2_coco-mini_proxies.py'

move = dict(type='mmboxcaseg.MoveBox', scale=0.9)
test_pipeline = [_base_.test_pipeline[0], move, *_base_.test_pipeline[1:]]
tta_pipeline = [_base_.tta_pipeline[0], move, *_base_.tta_pipeline[1:]]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
