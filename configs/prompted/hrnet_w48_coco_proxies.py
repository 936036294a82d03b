# Next round: proxy masks of an earlier one supervise box patches beside the salient ones.
_base_ = './hrnet_w48_coco.py'

proxy_file = 'work_dirs/hrnet_w48_coco/proxy.json'

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
