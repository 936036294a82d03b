# Table 8: masks up to this agreement are dropped.
_base_ = '{{$ABLATION_BASE:../../proxy_mask_rcnn/r101_fpn_coco.py}}'

train_pipeline = [
    *_base_.train_pipeline[:3],
    dict(type='mmboxcaseg.DropProxyMasks', min_agreement=0.90),
    *_base_.train_pipeline[4:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
