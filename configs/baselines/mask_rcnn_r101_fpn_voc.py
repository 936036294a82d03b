# Fully supervised Mask R-CNN on VOC 2012 + SBD, the twin of proxy_mask_rcnn/r101_fpn_voc.py:
# everything is the same but the masks. Data as in _base_/datasets/voc_sbd.py.
_base_ = [
    __import__('mmboxcaseg').config_path('mmdet::mask_rcnn/mask-rcnn_r101_fpn_1x_coco.py'),
    '../_base_/datasets/voc_sbd.py',
    '../_base_/datasets/instances.py',
]

# The paper trains with a batch of 6: two GPUs with three images each.
batch_size_per_gpu = 3
lr = 0.0075
max_iters = 22500
lr_step = 15000

# As in maskrcnn-benchmark, whose defaults the paper takes: MSRA's weights, which want BGR.
model = dict(
    data_preprocessor=dict(
        mean=[102.9801, 115.9465, 122.7717], std=[1.0, 1.0, 1.0], bgr_to_rgb=False
    ),
    backbone=dict(
        norm_cfg=dict(requires_grad=False),
        style='caffe',
        init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet101_caffe'),
    ),
    roi_head=dict(
        bbox_head=dict(num_classes=len(_base_.classes)),
        mask_head=dict(num_classes=len(_base_.classes)),
    ),
)

# mmdet's, but for the way images are read.
train_pipeline = [_base_.load, _base_.annotations, _base_.resize, _base_.flip, _base_.pack]
test_pipeline = [_base_.load, _base_.resize, _base_.annotations, _base_.pack_test]
train_dataloader = dict(
    batch_size=batch_size_per_gpu,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(_base_.voc_train, pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(_base_.voc_val, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = _base_.voc_evaluator
test_evaluator = val_evaluator

train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters // 3
)
optim_wrapper = dict(
    optimizer=dict(lr=lr, weight_decay=1e-4),
    paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=False, milestones=[lr_step], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=6)

default_hooks = dict(checkpoint=dict(by_epoch=False, interval=max_iters // 9, max_keep_ckpts=3))
log_processor = dict(by_epoch=False)
