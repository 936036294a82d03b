# Table 7: neither merge nor drop; only empty masks are dropped, which teach nothing anyway. The
# proxy file has to be unmerged too: tools/refine_proxy_masks.py --no-merge.
_base_ = '../../proxy_mask_rcnn/r101_fpn_coco.py'

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='mmboxcaseg.DropProxyMasks', min_agreement=0.0),
    *_base_.train_pipeline[4:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
