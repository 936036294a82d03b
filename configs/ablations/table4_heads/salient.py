# Table 4: the salient head alone, on salient images alone: boxes have nothing to teach it.
_base_ = '{{$ABLATION_BASE:../../boxcaseg/hrnet_w48_voc.py}}'

model = dict(weak_head=None, transferred_head=None)
train_dataloader = dict(
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    dataset=dict(_delete_=True, **_base_.train_dataloader.dataset.datasets[1]),
)
