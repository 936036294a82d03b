# What Mask R-CNN rows change with `tools/ablate.py --set mini`: the small Mask R-CNN on the
# persons of the small real data, by far its largest class.
_base_ = '../../proxy_mask_rcnn/effnet-lite0_fpn_coco-mini.py'

classes = ('person',)
max_epochs = 36

proposals = dict(nms_pre=500, max_per_img=200)
roi_layer = dict(sampling_ratio=1)
model = dict(
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=roi_layer),
        bbox_head=dict(num_classes=len(classes)),
        mask_roi_extractor=dict(roi_layer=roi_layer),
        mask_head=dict(num_classes=len(classes)),
    ),
    train_cfg=dict(rpn_proposal=proposals),
    test_cfg=dict(rpn=proposals),
)

resize = dict(type='Resize', scale=(320, 320), keep_ratio=True)
train_pipeline = [_base_.load, _base_.annotations, _base_.merge_masks, _base_.drop_masks]
train_pipeline += [resize, _base_.flip, _base_.pack]
test_pipeline = [_base_.load, resize, _base_.annotations, _base_.pack_test]
train_dataloader = dict(
    batch_size=4,
    persistent_workers=False,
    dataset=dict(metainfo=dict(classes=classes), pipeline=train_pipeline),
)
val_dataloader = dict(
    persistent_workers=False,
    dataset=dict(metainfo=dict(classes=classes), pipeline=test_pipeline),
)
test_dataloader = val_dataloader
# Table 1's thresholds too.
val_evaluator = dict(type='mmboxcaseg.CocoAPMetric')
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(interval=max_epochs))
auto_scale_lr = dict(base_batch_size=4)
randomness = dict(seed=0)
