# Next round: the network is trained on, and proxy masks of an earlier round supervise box patches
# beside the salient ones.
_base_ = './hrnet_w48_voc.py'

load_from = 'work_dirs/hrnet_w48_voc/epoch_40.pth'
proxy_file = 'work_dirs/hrnet_w48_voc/proxy.json'

clutter = dict(
    type='mmboxcaseg.PasteClutter', dataset=_base_.salient_dataset, prob=0.4, twin_prob=0.3
)
box_pipeline = [_base_.box_pipeline[0], clutter, *_base_.box_pipeline[1:]]

train_dataloader = dict(
    sampler=dict(_delete_=True, type='mmboxcaseg.RatioSampler', batch_size=16, ratio=(9, 7)),
    dataset=dict(
        _delete_=True,
        type='mmengine.ConcatDataset',
        ignore_keys=['supervision', 'classes'],
        datasets=[
            dict(_base_.box_dataset, proxy_file=proxy_file, pipeline=box_pipeline),
            dict(_base_.salient_dataset, pipeline=_base_.salient_pipeline),
        ],
    ),
)

max_epochs = 12
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [dict(_base_.param_scheduler[0], end=max_epochs)]
