# The box as a prompt of HRNetV2-W48; first round: salient images alone. 2 GPUs with 16 patches.
_base_ = [
    '../_base_/models/boxcaseg_hrnet-w48.py',
    '../_base_/datasets/voc_sbd.py',
    '../_base_/datasets/prompted_288.py',
    '../_base_/schedules/sgd_40e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    prompt=dict(type='mmboxcaseg.BoxPrompt', own=True, others=True),
    # A map that copies the box has no multiple-instance loss: the weak head would learn nothing,
    # and the transferred head is made from it.
    weak_head=None,
    transferred_head=None,
    loss_pixel=dict(dice_weight=1.0),
    test_cfg=dict(threshold='best'),
)

box_dataset = _base_.voc_boxes
val_dataloader = dict(dataset=_base_.voc_val_boxes)
test_dataloader = val_dataloader
