# Next round: the network is trained on, and proxy masks of an earlier round supervise box patches
# beside the salient ones.
_base_ = './prompted-boxcaseg_hrnetv2-w48_2xb16-40e_coco.py'

first_round = 'work_dirs/prompted-boxcaseg_hrnetv2-w48_2xb16-40e_coco'
load_from = f'{first_round}/epoch_40.pth'
proxy_file = f'{first_round}/proxy.json'

box_patches = dict(_base_.box_dataset, proxy_file=proxy_file, pipeline=_base_.box_pipeline)
train_dataloader = dict(
    sampler=_base_.round_sampler,
    dataset=dict(_base_.round_dataset, datasets=[box_patches, _base_.salient_patches]),
)
train_cfg = dict(max_epochs=12)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
