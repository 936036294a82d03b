# What BoxCaseg rows change with `tools/ablate.py --set mini`: the EfficientNet on the small real
# data, with smaller patches and fewer epochs, so that a row takes minutes on a CPU.
_base_ = '../../boxcaseg/effnet-lite0_coco-mini.py'

patch_size = 96

model = dict(test_cfg=dict(maps=None))

box_crop = dict(_base_.box_crop, size=patch_size)
blur = dict(_base_.blur, size=(20, patch_size))
test_crop = dict(_base_.test_crop, size=patch_size)
box_pipeline = [_base_.load, box_crop, _base_.flip, _base_.pack]
salient_pipeline = [_base_.load, box_crop, blur, _base_.flip, _base_.pack]
test_pipeline = [_base_.load, test_crop, _base_.pack]
box_patches = dict(_base_.box_patches, pipeline=box_pipeline)
salient_patches = dict(_base_.salient_patches, pipeline=salient_pipeline)
train_dataloader = dict(dataset=dict(datasets=[box_patches, salient_patches]))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(by_size=False)
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=3, val_interval=1000)
