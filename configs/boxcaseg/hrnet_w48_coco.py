# Joint training on COCO 2017 boxes and DUTS-Single: batches of 9 box to 7 salient patches
# (Table 5), lr 8e-3, alpha 0.6. Boxes that overlap another one by an IoU over 0.5 are left out
# of an epoch's draw with probability 0.75, as in the released code. The rate reaches zero with the
# last epoch; in the release it does not, see hrnet_w48_coco_released.py.
_base_ = ['./hrnet_w48_voc.py', '../_base_/datasets/coco.py']

model = dict(alpha=0.6)
box_patches = dict(_base_.coco_boxes, pipeline=_base_.box_pipeline)
train_dataloader = dict(
    sampler=dict(_base_.coco_sampler, ratio=(9, 7)),
    dataset=dict(datasets=[box_patches, _base_.salient_patches]),
)
val_dataloader = dict(dataset=_base_.coco_val_boxes)
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=65)
optim_wrapper = dict(optimizer=dict(lr=8e-3))
