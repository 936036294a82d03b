# Proxy Mask R-CNN on VOC 2012 + SBD (Table 1): boxes and proxy masks, no true masks. Data as in
# baselines/mask_rcnn_r101_fpn_voc.py. The proxy file comes from
#   python tools/generate_proxy_masks.py configs/boxcaseg/hrnet_w48_voc.py \
#       work_dirs/hrnet_w48_voc/epoch_40.pth --ann data/voc_sbd/annotations/instances_train.json \
#       --images data/voc_sbd/images --out work_dirs/hrnet_w48_voc/proxy.json
_base_ = '../baselines/mask_rcnn_r101_fpn_voc.py'

proxy_file = 'work_dirs/hrnet_w48_voc/proxy.json'
images = dict(img='data/voc_sbd/images/')

model = dict(roi_head=dict(mask_head=dict(type='mmboxcaseg.ProxyMaskHead')))

train_pipeline = _base_.proxy_pipeline
train_dataloader = dict(
    dataset=dict(_base_.proxies, ann_file=proxy_file, data_prefix=images, pipeline=train_pipeline)
)
