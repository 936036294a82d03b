# Proxy Mask R-CNN on COCO 2017 (Table 2): boxes and proxy masks, no true masks; data under
# data/coco, as mmdet has it. The proxy file comes from
#   python tools/generate_proxy_masks.py configs/boxcaseg/hrnet_w48_coco.py CHECKPOINT \
#       --ann data/coco/annotations/instances_train2017.json \
#       --images data/coco/train2017 --out work_dirs/hrnet_w48_coco/proxy.json
_base_ = '../baselines/mask_rcnn_r101_fpn_coco.py'

proxy_file = 'work_dirs/hrnet_w48_coco/proxy.json'
images = dict(img='data/coco/train2017/')

model = dict(roi_head=dict(mask_head=dict(type='mmboxcaseg.ProxyMaskHead')))

train_pipeline = _base_.proxy_pipeline
train_dataloader = dict(
    dataset=dict(_base_.proxies, ann_file=proxy_file, data_prefix=images, pipeline=train_pipeline)
)
