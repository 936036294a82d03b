# As prompted-boxcaseg_hrnetv2-w48_2xb16-40e_voc.py, for the boxes of COCO 2017.
_base_ = ['./prompted-boxcaseg_hrnetv2-w48_2xb16-40e_voc.py', '../_base_/datasets/coco.py']

box_dataset = _base_.coco_boxes
val_dataloader = dict(dataset=_base_.coco_val_boxes)
test_dataloader = val_dataloader
