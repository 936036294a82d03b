# As effnet-lite0_coco-mini_proxies.py, the larger network, with larger patches.
_base_ = './effnet-lite0_coco-mini_proxies.py'

load_from = 'work_dirs/effnet-lite2_coco-mini/epoch_14.pth'
proxy_file = 'work_dirs/effnet-lite2_coco-mini/proxy.json'
patch_size = 160

model = dict(backbone=dict(variant='lite2'), neck=dict(in_channels=[24, 48, 120, 352]))

crop = dict(_base_.crop, size=patch_size)
box_pipeline = [*_base_.box_pipeline[:2], crop, *_base_.box_pipeline[3:]]
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
    dataset=dict(
        datasets=[
            dict(_base_.box_dataset, proxy_file=proxy_file, pipeline=box_pipeline),
            dict(_base_.salient_dataset, pipeline=salient_pipeline),
        ]
    )
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
