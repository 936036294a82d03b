# The second round of the best network without its boxes: salient images alone, as many steps. Give
# it the first round that was trained: --cfg-options load_from=work_dirs/.../round1/epoch_14.pth
_base_ = '../effnet-lite2_coco-mini_proxies.py'

train_dataloader = dict(
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    dataset=dict(_base_.salient_dataset, _delete_=True, pipeline=_base_.salient_pipeline),
)

max_epochs = 7
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], T_max=max_epochs),
]
