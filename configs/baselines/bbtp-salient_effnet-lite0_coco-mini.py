# BBTP with salient images on the persons of the small real data, as in
# bbtp-salient_r101_fpn_voc.py: of four images in a batch three have boxes. These are seen as often
# as in 36 epochs.
_base_ = ['../ablations/mini/mask_rcnn.py', '../_base_/models/bbtp.py']

max_iters = 1044

model = dict(
    type='mmboxcaseg.SalientMaskRCNN',
    data_preprocessor=dict(pad_mask=False),  # images with boxes have no masks
    roi_head=dict(mask_head=dict(_base_.mask_head, class_agnostic=True)),
)

load_salient = dict(type='mmboxcaseg.LoadPatchImage')
instance = dict(type='mmboxcaseg.InstanceFromMask')
pack = dict(_base_.pack, meta_keys=(*_base_.pack_test.meta_keys, 'supervision'))
box_dataset = dict(
    type='CocoDataset',
    data_root=_base_.data_root,
    ann_file='annotations/instances_train.json',
    data_prefix=dict(img='train/'),
    metainfo=dict(classes=_base_.classes),
    filter_cfg=dict(filter_empty_gt=True, min_size=32),
    pipeline=[_base_.load, _base_.boxes, _base_.resize, _base_.flip, _base_.pack],
)
salient_dataset = dict(
    type='mmboxcaseg.SalientObjectDataset',
    data_root='data/duts_mini',
    pipeline=[load_salient, instance, _base_.resize, _base_.flip, pack],
)
train_dataloader = dict(
    sampler=dict(_delete_=True, type='MultiSourceSampler', batch_size=4, source_ratio=[3, 1]),
    batch_sampler=None,
    dataset=dict(
        _delete_=True,
        type='mmengine.ConcatDataset',
        ignore_keys=['classes', 'palette', 'supervision'],
        datasets=[box_dataset, salient_dataset],
    ),
)

train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=max_iters))
log_processor = dict(by_epoch=False)
