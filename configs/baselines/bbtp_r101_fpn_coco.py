# BBTP on COCO 2017 (Table 2); see bbtp_r101_fpn_voc.py. The schedule is that of
# mask_rcnn_r101_fpn_coco.py.
_base_ = ['./mask_rcnn_r101_fpn_coco.py', '../_base_/models/bbtp.py']

model = dict(roi_head=dict(mask_head=_base_.mask_head))
train_pipeline = [_base_.load, _base_.boxes, _base_.resize, _base_.flip, _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
