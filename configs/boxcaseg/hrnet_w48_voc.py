# Joint training on VOC 2012 + SBD boxes and DUTS-Single, with the paper's settings:
# plain shuffling over both sources, 2 GPUs with 16 patches each, 40 epochs, alpha 0.7.
_base_ = [
    '../_base_/models/boxcaseg_hrnet-w48.py',
    '../_base_/datasets/voc_sbd.py',
    '../_base_/datasets/patches_288.py',
    '../_base_/schedules/sgd_40e.py',
    '../_base_/default_runtime.py',
]

box_patches = dict(_base_.voc_boxes, pipeline=_base_.box_pipeline)
train_dataloader = dict(dataset=dict(datasets=[box_patches, _base_.salient_patches]))
val_dataloader = dict(dataset=_base_.voc_val_boxes)
test_dataloader = val_dataloader
