# The second round of the best network without its boxes: salient images alone, as many steps. Give
# it the first round that was trained: --cfg-options load_from=work_dirs/.../round1/epoch_14.pth
_base_ = '../prompted/prompted-boxcaseg_effnet-lite2_1xb16-3e_coco-mini-proxies.py'

train_dataloader = dict(
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    dataset=dict(_base_.salient_dataset, _delete_=True, pipeline=_base_.salient_pipeline),
)
train_cfg = dict(max_epochs=7)
