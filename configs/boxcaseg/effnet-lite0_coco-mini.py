# EfficientNet-Lite0 on the small real data.
_base_ = [
    '../_base_/models/boxcaseg_effnet-lite0.py',
    '../_base_/datasets/coco-mini_patches.py',
    '../_base_/schedules/adamw_8e.py',
    '../_base_/default_runtime.py',
]

model = dict(test_cfg=dict(maps=['weak', 'salient', 'transferred', 'fused']))

# Salient objects cropped and blurred like box patches, or else what the pixel loss teaches fits
# the boxes less and less as the training goes on (docs/results.md).
blur = dict(_base_.blur, size=(20, _base_.patch_size))
salient_pipeline = [_base_.load, _base_.box_crop, blur, _base_.flip, _base_.pack]
salient_patches = dict(_base_.salient_patches, pipeline=salient_pipeline)
train_dataloader = dict(dataset=dict(datasets=[_base_.box_patches, salient_patches]))
train_cfg = dict(max_epochs=6)
