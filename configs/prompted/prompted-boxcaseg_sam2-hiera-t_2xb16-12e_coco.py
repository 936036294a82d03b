# A strong encoder for GPUs, with boxes as prompts; first round: salient images alone. 2 GPUs with
# 16 patches. It needs timm (`pip install '.[timm]'`); code and weights of SAM 2 are Apache-2.0, and
# timm fetches the weights: or give a file of them as model.backbone.weights. They were trained on
# true masks, which those of ImageNet and of DINOv2 were not.
_base_ = [
    '../_base_/models/boxcaseg_hrnet-w48.py',
    '../_base_/datasets/coco.py',
    '../_base_/datasets/prompted_288.py',
    '../_base_/schedules/adamw_cosine.py',
    '../_base_/default_runtime.py',
]

# Neck and head find the channels themselves.
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmboxcaseg.TIMMBackbone',
        model_name='sam2_hiera_tiny',
        pretrained=True,
    ),
    neck=dict(type='mmboxcaseg.FineNeck', channels=128, out_channels=64, norm_cfg=_base_.norm_cfg),
    prompt=dict(type='mmboxcaseg.BoxPrompt', own=True, others=True),
    weak_head=None,
    transferred_head=None,
    salient_head=dict(in_channels=None),
    loss_pixel=dict(dice_weight=1.0),
    test_cfg=dict(threshold='best'),
)

box_dataset = _base_.coco_boxes
val_dataloader = dict(dataset=_base_.coco_val_boxes)
test_dataloader = val_dataloader

# The encoder is trained, and what is new learns ten times as fast.
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}),
)
auto_scale_lr = dict(base_batch_size=32)
