# Proxy Mask R-CNN on the synthetic set: its boxes, and the proxy masks of boxcaseg_toy.py.
_base_ = './mask_rcnn_toy_supervised.py'

# The paper's 0.95 is within a pixel of the box for objects as small as these.
min_agreement = 0.85

model = dict(roi_head=dict(mask_head=dict(type='mmboxcaseg.ProxyMaskHead')))

train_pipeline = [
    # The image and its annotations.
    *_base_.train_pipeline[:2],
    dict(type='mmboxcaseg.MergeProxyMasks'),
    dict(type='mmboxcaseg.DropProxyMasks', min_agreement=min_agreement),
    *_base_.train_pipeline[2:],
]
train_dataloader = dict(
    dataset=dict(
        type='mmboxcaseg.ProxyCocoDataset',
        ann_file='annotations/proxy_train.json',
        pipeline=train_pipeline,
    )
)
