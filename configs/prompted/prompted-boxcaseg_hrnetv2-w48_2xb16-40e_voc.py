# The box as a prompt of HRNetV2-W48; first round: salient images alone. 2 GPUs with 16 patches.
_base_ = [
    '../_base_/models/boxcaseg_hrnet-w48.py',
    '../_base_/models/prompted.py',
    '../_base_/datasets/voc_sbd.py',
    '../_base_/datasets/prompted_288.py',
    '../_base_/schedules/sgd_40e.py',
    '../_base_/default_runtime.py',
]

model = _base_.prompted
box_dataset = _base_.voc_boxes
val_dataloader = dict(dataset=_base_.voc_val_boxes)
test_dataloader = val_dataloader
