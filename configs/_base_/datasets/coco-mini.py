# Small real data: photographs of COCO with boxes, and salient pairs of DUTS.
mini_boxes = dict(
    type='mmboxcaseg.BoxInstanceDataset',
    data_root='data/coco_mini',
    ann_file='annotations/instances_train.json',
    data_prefix=dict(img='train'),
)
mini_val_boxes = dict(
    mini_boxes, ann_file='annotations/instances_val.json', data_prefix=dict(img='val')
)
salient_root = 'data/duts_mini'
