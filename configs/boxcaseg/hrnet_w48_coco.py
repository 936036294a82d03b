# Joint training on COCO 2017 boxes and DUTS-Single: batches of 9 box to 7 salient patches
# (Table 5), lr 8e-3, alpha 0.6. Boxes that overlap another one by an IoU over 0.5 are left out
# of an epoch's draw with probability 0.75, as in the released code.
_base_ = './hrnet_w48_voc.py'

data_root = 'data/coco'
salient_root = 'data/duts_single'
max_epochs = 65

model = dict(alpha=0.6)
train_dataloader = dict(
    sampler=dict(
        _delete_=True,
        type='mmboxcaseg.RatioSampler',
        batch_size=16,
        ratio=(9, 7),
        overlap_iou=0.5,
        overlap_skip=0.75,
    ),
    dataset=dict(
        datasets=[
            dict(
                type='mmboxcaseg.BoxInstanceDataset',
                data_root=data_root,
                ann_file='annotations/instances_train2017.json',
                data_prefix=dict(img='train2017'),
                pipeline=_base_.box_pipeline,
            ),
            dict(
                type='mmboxcaseg.SalientObjectDataset',
                data_root=salient_root,
                pipeline=_base_.salient_pipeline,
            ),
        ]
    ),
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017'),
    )
)
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=8e-3))
param_scheduler = [
    dict(type='PolyLR', power=0.9, end=max_epochs, by_epoch=True, convert_to_iter_based=True)
]
