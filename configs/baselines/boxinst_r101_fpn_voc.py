# BoxInst on VOC 2012 + SBD (Table 1), by mmdet's own classes; boxes alone, no masks. BoxInst's
# authors recall for VOC (github.com/aim-uofa/AdelaiDet/issues/580, not sure of it) 18,000
# iterations with 16 images, learning rate 0.01, steps at 12,000 and 16,000, 1,000 iterations until
# the pairwise term has its full weight, and no rows left out at the bottom of the images. Here it
# is half of the images at a time, so half of the rate and twice the iterations: 27 epochs.
_base_ = [
    __import__('mmboxcaseg').config_path('mmdet::boxinst/boxinst_r101_fpn_ms-90k_coco.py'),
    '../_base_/datasets/voc_sbd.py',
    '../_base_/datasets/instances.py',
]

# Two GPUs with four images each.
batch_size_per_gpu = 4
lr = 0.005
max_iters = 36000
lr_steps = [24000, 32000]
pairwise_warmup_iters = 2000

model = dict(
    data_preprocessor=dict(bottom_pixels_removed=0),
    bbox_head=dict(num_classes=len(_base_.classes)),
    mask_head=dict(warmup_iters=pairwise_warmup_iters),
)

# mmdet's, but for the way images are read.
load = dict(_base_.load, imdecode_backend='pillow')
boxes = dict(type='LoadAnnotations', with_bbox=True)
sizes = dict(
    type='RandomChoiceResize',
    scales=[(1333, side) for side in (640, 672, 704, 736, 768, 800)],
    keep_ratio=True,
    backend='pillow',
)
resize = dict(_base_.resize, backend='pillow')
train_pipeline = [load, boxes, sizes, _base_.flip, _base_.pack]
test_pipeline = [load, resize, boxes, _base_.pack_test]
train_dataloader = dict(
    batch_size=batch_size_per_gpu,
    dataset=dict(_base_.voc_train, pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(_base_.voc_val, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = _base_.voc_evaluator
test_evaluator = val_evaluator

train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 3)
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=False, milestones=lr_steps, gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=8)
# Images without a positive give the mask head no gradient.
find_unused_parameters = True

default_hooks = dict(checkpoint=dict(interval=max_iters // 9, max_keep_ckpts=3))
