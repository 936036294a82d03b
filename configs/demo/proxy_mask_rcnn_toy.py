# Proxy Mask R-CNN on the synthetic set: its boxes, and the proxy masks of boxcaseg_toy.py.
_base_ = './mask_rcnn_toy_supervised.py'

# The paper's 0.95 is within a pixel of the box for objects as small as these.
min_agreement = 0.85

model = dict(roi_head=dict(mask_head=dict(type='mmboxcaseg.ProxyMaskHead')))

drop_masks = dict(_base_.drop_masks, min_agreement=min_agreement)
train_pipeline = [_base_.load, _base_.annotations, _base_.merge_masks, drop_masks]
train_pipeline += [_base_.resize, _base_.flip, _base_.pack]
train_dataloader = dict(
    dataset=dict(
        type='mmboxcaseg.ProxyCocoDataset',
        ann_file='annotations/proxy_train.json',
        pipeline=train_pipeline,
    )
)
