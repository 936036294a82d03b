# The boxes of COCO 2017.
coco_boxes = dict(
    type='mmboxcaseg.BoxInstanceDataset',
    data_root='data/coco',
    ann_file='annotations/instances_train2017.json',
    data_prefix=dict(img='train2017'),
)
coco_val_boxes = dict(
    coco_boxes,
    ann_file='annotations/instances_val2017.json',
    data_prefix=dict(img='val2017'),
)
