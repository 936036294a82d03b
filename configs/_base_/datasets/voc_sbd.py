# VOC 2012 + SBD in COCO form, as tools/dataset_converters/voc_sbd2coco.py writes it: 10,582 images
# to train on, 1,449 to validate. Configs put the sets and the evaluator into their loaders.
classes = (
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow',
    'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa',
    'train', 'tvmonitor',
)  # fmt: skip

voc_boxes = dict(
    type='mmboxcaseg.BoxInstanceDataset',
    data_root='data/voc_sbd',
    ann_file='annotations/instances_train.json',
    data_prefix=dict(img='images'),
)
voc_val_boxes = dict(voc_boxes, ann_file='annotations/instances_val.json')

# For a Mask R-CNN.
voc_train = dict(
    data_root='data/voc_sbd/',
    ann_file='annotations/instances_train.json',
    data_prefix=dict(img='images/'),
    metainfo=dict(classes=classes),
)
voc_val = dict(voc_train, ann_file='annotations/instances_val.json')
# AP of Table 1 as well as COCO's.
voc_evaluator = [
    dict(
        type='mmboxcaseg.CocoAPMetric',
        ann_file='data/voc_sbd/annotations/instances_val.json',
        metric=['bbox', 'segm'],
    ),
    dict(
        type='mmboxcaseg.VOCInstanceMetric',
        ann_file='data/voc_sbd/annotations/instances_val.json',
    ),
]
