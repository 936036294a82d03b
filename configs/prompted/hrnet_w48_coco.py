# As hrnet_w48_voc.py, for the boxes of COCO 2017.
_base_ = './hrnet_w48_voc.py'

box_dataset = dict(
    _delete_=True,
    type='mmboxcaseg.BoxInstanceDataset',
    data_root='data/coco',
    ann_file='annotations/instances_train2017.json',
    data_prefix=dict(img='train2017'),
)
val_dataloader = dict(
    dataset=dict(
        data_root='data/coco',
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017'),
    )
)
test_dataloader = val_dataloader
