# Next round: the network is trained on, with larger patches, and proxy masks of an earlier round
# supervise box patches beside the salient ones.
_base_ = './effnet-lite2_coco-mini.py'

load_from = 'work_dirs/effnet-lite2_coco-mini/epoch_14.pth'
proxy_file = 'work_dirs/effnet-lite2_coco-mini/proxy.json'
patch_size = 160

crop = dict(_base_.crop, size=patch_size)
clutter = dict(
    type='mmboxcaseg.PasteClutter', dataset=_base_.salient_dataset, prob=0.4, twin_prob=0.3
)
box_pipeline = [_base_.box_pipeline[0], clutter, crop, *_base_.box_pipeline[2:]]
salient_pipeline = [
    *_base_.salient_pipeline[:3],
    crop,
    _base_.salient_pipeline[4],
    dict(_base_.salient_pipeline[5], size=(20, patch_size)),
    *_base_.salient_pipeline[6:],
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(_base_.test_pipeline[1], size=patch_size),
    *_base_.test_pipeline[2:],
]
views = _base_.tta_pipeline[1].transforms
tta_pipeline = [
    _base_.tta_pipeline[0],
    dict(
        type='TestTimeAug',
        transforms=[[dict(view, size=patch_size) for view in views[0]], *views[1:]],
    ),
]

train_dataloader = dict(
    sampler=dict(_delete_=True, type='mmboxcaseg.RatioSampler', batch_size=16, ratio=(9, 7)),
    dataset=dict(
        _delete_=True,
        type='mmengine.ConcatDataset',
        ignore_keys=['supervision', 'classes'],
        datasets=[
            dict(_base_.box_dataset, proxy_file=proxy_file, pipeline=box_pipeline),
            dict(_base_.salient_dataset, pipeline=salient_pipeline),
        ],
    ),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

max_epochs = 3
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], T_max=max_epochs),
]
