# Proxy Mask R-CNN on COCO 2017 (Table 2): boxes and proxy masks, no true masks; data under
# data/coco, as mmdet has it. The proxy file comes from
#   python tools/generate_proxy_masks.py configs/boxcaseg/hrnet_w48_coco.py CHECKPOINT \
#       --ann data/coco/annotations/instances_train2017.json \
#       --img-root data/coco/train2017 --out work_dirs/hrnet_w48_coco/proxy.json
_base_ = '../baselines/mask_rcnn_r101_fpn_coco.py'

proxy_file = 'work_dirs/hrnet_w48_coco/proxy.json'
img_root = 'data/coco/train2017/'
# A mask trains the mask head if its proxy box agreement is above this; its box always trains.
min_agreement = 0.95

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
        # Empty, because proxy_file does not lie under the data root.
        data_root='',
        ann_file=proxy_file,
        data_prefix=dict(img=img_root),
        pipeline=train_pipeline,
    )
)
