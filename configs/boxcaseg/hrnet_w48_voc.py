# Joint training on VOC 2012 + SBD boxes and DUTS-Single, with the paper's settings:
# plain shuffling over both sources, 2 GPUs with 16 patches each, 40 epochs, alpha 0.7.
_base_ = [
    '../_base_/models/boxcaseg_hrnet-w48.py',
    '../_base_/datasets/patches_288.py',
    '../_base_/schedules/sgd_40e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/voc_sbd'
salient_root = 'data/duts_single'

train_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(
                type='mmboxcaseg.BoxInstanceDataset',
                data_root=data_root,
                ann_file='annotations/instances_train.json',
                data_prefix=dict(img='images'),
                pipeline=_base_.box_pipeline,
            ),
            dict(
                type='mmboxcaseg.SalientObjectDataset',
                data_root=salient_root,
                pipeline=_base_.salient_pipeline,
            ),
        ]
    )
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='images'),
    )
)
test_dataloader = val_dataloader
