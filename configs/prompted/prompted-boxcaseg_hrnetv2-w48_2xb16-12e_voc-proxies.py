# Next round: the network is trained on, and proxy masks of an earlier round supervise box patches
# beside the salient ones.
_base_ = './prompted-boxcaseg_hrnetv2-w48_2xb16-40e_voc.py'

first_round = 'work_dirs/prompted-boxcaseg_hrnetv2-w48_2xb16-40e_voc'
load_from = f'{first_round}/epoch_40.pth'
proxy_file = f'{first_round}/proxy.json'

train_dataloader = dict(
    sampler=dict(_base_.round_sampler, _delete_=True),
    dataset=dict(
        _base_.both,
        _delete_=True,
        datasets=[
            dict(_base_.box_dataset, proxy_file=proxy_file, pipeline=_base_.box_pipeline),
            dict(_base_.salient_dataset, pipeline=_base_.salient_pipeline),
        ],
    ),
)
train_cfg = dict(max_epochs=12)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
