# The network that comes with the package, last round: and boxes, with masks of the round before.
_base_ = './prompted-boxcaseg_effnet-lite2-fine_1xb64-15e_coco-mini.py'

first_round = 'work_dirs/prompted-boxcaseg_effnet-lite2-fine_1xb64-15e_coco-mini'
load_from = f'{first_round}/epoch_15.pth'
proxy_file = f'{first_round}/proxy.json'

box_patches = dict(_base_.box_dataset, proxy_file=proxy_file, pipeline=_base_.box_pipeline)
train_dataloader = dict(
    batch_size=16,
    sampler=_base_.round_sampler,
    dataset=dict(_base_.round_dataset, datasets=[box_patches, _base_.salient_patches]),
)
train_cfg = dict(max_epochs=1)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=16)
# Of the shipped weights, on the boxes of val with an even image id: docs/model_card.md.
model = dict(test_cfg=dict(calibration=(0.887, -0.641)))
tta_model = dict(calibration=(0.848, -0.429))
