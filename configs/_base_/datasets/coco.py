# The boxes of COCO 2017.
coco_boxes = dict(
    type='mmboxcaseg.BoxInstanceDataset',
    data_root='data/coco',
    ann_file='annotations/instances_train2017.json',
    data_prefix=dict(img='train2017'),
)
# Boxes that overlap another one are drawn less often, as in the released code.
coco_sampler = dict(
    _delete_=True,
    type='mmboxcaseg.RatioSampler',
    batch_size=16,
    overlap_iou=0.5,
    overlap_skip=0.75,
)
coco_val_boxes = dict(
    coco_boxes,
    ann_file='annotations/instances_val2017.json',
    data_prefix=dict(img='val2017'),
)
