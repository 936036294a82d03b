# What BoxCaseg rows change with `tools/ablate.py --set mini`: the EfficientNet on the small real
# data, with smaller patches and fewer epochs, so that a row takes minutes on a CPU.
_base_ = '../../boxcaseg/effnet-lite0_coco-mini.py'

patch_size = 96
max_epochs = 3

model = dict(test_cfg=dict(maps=None))

box_pipeline = [
    _base_.box_pipeline[0],
    dict(type='mmboxcaseg.RandomBoxPatch', size=patch_size),
    *_base_.box_pipeline[2:],
]
salient_pipeline = [
    _base_.salient_pipeline[0],
    dict(type='mmboxcaseg.RandomBoxPatch', size=patch_size),
    dict(type='mmboxcaseg.RandomDownscale', size=(20, patch_size), prob=0.6),
    *_base_.salient_pipeline[3:],
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type='mmboxcaseg.BoxPatch', size=patch_size),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(_base_.train_dataloader.dataset.datasets[0], pipeline=box_pipeline),
            dict(_base_.train_dataloader.dataset.datasets[1], pipeline=salient_pipeline),
        ]
    )
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(by_size=False)
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=100, by_epoch=False),
    dict(type='PolyLR', power=0.9, end=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
