# Proxy Mask R-CNN on the small real data, on the masks of the prompted network: those of a good
# quality, which tells good masks better than the agreement does (docs/results.md). The proxy file
# comes from
#   python tools/self_train.py \
#       configs/prompted/prompted-boxcaseg_effnet-lite2_1xb16-14e_coco-mini.py \
#       configs/prompted/prompted-boxcaseg_effnet-lite2_1xb16-3e_coco-mini-proxies.py
_base_ = './r101_fpn_coco-mini.py'

proxy_file = 'work_dirs/self_train/proxy.json'

drop_masks = dict(_base_.drop_masks, min_agreement=0.0, min_quality=0.75)
train_pipeline = [_base_.load, _base_.annotations, _base_.merge_masks, drop_masks]
train_pipeline += [_base_.resize, _base_.flip, _base_.pack]
train_dataloader = dict(dataset=dict(ann_file=proxy_file, pipeline=train_pipeline))
