# Next round: proxy masks of an earlier one supervise box patches beside the salient ones.
_base_ = './effnet-lite0_coco-mini.py'

proxy_file = 'work_dirs/effnet-lite0_coco-mini/proxy.json'

train_dataloader = dict(
    sampler=dict(_delete_=True, type='mmboxcaseg.RatioSampler', batch_size=16, ratio=(9, 7)),
    dataset=dict(
        _delete_=True,
        type='mmengine.ConcatDataset',
        ignore_keys=['supervision', 'classes'],
        datasets=[
            dict(_base_.box_dataset, proxy_file=proxy_file, pipeline=_base_.box_pipeline),
            dict(_base_.salient_dataset, pipeline=_base_.salient_pipeline),
        ],
    ),
)

max_epochs = 5
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], T_max=max_epochs),
]
