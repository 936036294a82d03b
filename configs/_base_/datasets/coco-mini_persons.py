# Proxy masks of the persons of the small real data, by far its largest class, for a detector of
# mmdet's and CPUs, and a schedule that is short enough for them.
persons = dict(metainfo=dict(classes=('person',)))
person_proxies = dict(
    persons,
    ann_file='work_dirs/proxies/coco-mini.json',
    data_prefix=dict(img='data/coco_mini/train/'),
)
val_persons = dict(
    persons,
    data_root='data/coco_mini/',
    ann_file='annotations/instances_val.json',
    data_prefix=dict(img='val/'),
)
# Table 1's thresholds too.
person_evaluator = dict(
    type='mmboxcaseg.CocoAPMetric', ann_file='data/coco_mini/annotations/instances_val.json'
)
short_schedule = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True),
]
