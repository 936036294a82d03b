# BBTP with salient images on VOC 2012 + SBD (Table 1, B+S): of three images in a batch two have
# boxes and one is of DUTS-Single, see mmboxcaseg.SalientMaskRCNN. The schedule is longer than that
# of bbtp_r101_fpn_voc.py by half, so that the images with boxes are seen as often.
_base_ = './bbtp_r101_fpn_voc.py'

max_iters = 33750
lr_step = 22500

model = dict(
    type='mmboxcaseg.SalientMaskRCNN',
    data_preprocessor=dict(pad_mask=False),  # images with boxes have no masks
    roi_head=dict(mask_head=dict(class_agnostic=True)),
)

load_salient = dict(type='mmboxcaseg.LoadPatchImage')
instance = dict(type='mmboxcaseg.InstanceFromMask')
pack = dict(_base_.pack, meta_keys=(*_base_.pack_test.meta_keys, 'supervision'))
salient_pipeline = [load_salient, instance, _base_.resize, _base_.flip, pack]
salient_dataset = dict(
    type='mmboxcaseg.SalientObjectDataset',
    data_root='data/duts_single',
    pipeline=salient_pipeline,
)
train_dataloader = dict(
    sampler=dict(
        _delete_=True,
        type='MultiSourceSampler',
        batch_size=_base_.batch_size_per_gpu,
        source_ratio=[2, 1],
    ),
    batch_sampler=None,
    dataset=dict(
        _delete_=True,
        type='mmengine.ConcatDataset',
        ignore_keys=['classes', 'palette', 'supervision'],
        datasets=[_base_.train_dataloader.dataset, salient_dataset],
    ),
)

train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 3)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=False, milestones=[lr_step], gamma=0.1),
]
default_hooks = dict(checkpoint=dict(interval=max_iters // 9))
