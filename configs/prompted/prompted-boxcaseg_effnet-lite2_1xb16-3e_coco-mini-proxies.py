# Next round of the larger network, with larger patches.
_base_ = './prompted-boxcaseg_effnet-lite2_1xb16-14e_coco-mini.py'

first_round = 'work_dirs/prompted-boxcaseg_effnet-lite2_1xb16-14e_coco-mini'
load_from = f'{first_round}/epoch_14.pth'
proxy_file = f'{first_round}/proxy.json'
patch_size = 160

crop = dict(_base_.crop, size=patch_size)
blur = dict(_base_.blur, size=(20, patch_size))
test_crop = dict(_base_.test_crop, size=patch_size)
crops = [dict(test_crop, margin=margin) for margin in _base_.margins]
views = dict(type='TestTimeAug', transforms=[crops, _base_.flips, [_base_.pack]])
salient_pipeline = [
    *(_base_.load, _base_.clutter, _base_.truncate, crop, _base_.colours, blur),
    *_base_.end,
]
box_pipeline = [_base_.load, _base_.box_clutter, crop, _base_.colours, *_base_.end]
test_pipeline = [_base_.load, test_crop, _base_.pack]
tta_pipeline = [_base_.load, views]

box_patches = dict(_base_.box_dataset, proxy_file=proxy_file, pipeline=box_pipeline)
salient_patches = dict(_base_.salient_patches, pipeline=salient_pipeline)
train_dataloader = dict(
    sampler=_base_.round_sampler,
    dataset=dict(_base_.round_dataset, datasets=[box_patches, salient_patches]),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=3)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
