# BBTP on VOC 2012 + SBD (Table 1): a Mask R-CNN whose mask head learns from the boxes alone, by
# multiple-instance learning. The schedule is that of mask_rcnn_r101_fpn_voc.py, so that the rows
# compare; BBTP's release has the same rate per image: 20,000 iterations with 8 images, learning
# rate 0.01, step at 15,000.
_base_ = ['./mask_rcnn_r101_fpn_voc.py', '../_base_/models/bbtp.py']

model = dict(roi_head=dict(mask_head=_base_.mask_head))
train_pipeline = [_base_.load, _base_.boxes, _base_.resize, _base_.flip, _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
