# The same Mask R-CNN on filled boxes in the place of predicted masks, merged and dropped alike:
#   python tools/make_baseline_masks.py data/voc_sbd/annotations/instances_train.json \
#       work_dirs/baselines/filled-box_raw.json --source box
#   python tools/refine_proxy_masks.py data/voc_sbd/annotations/instances_train.json \
#       work_dirs/baselines/filled-box_raw.json work_dirs/baselines/filled-box_proxy.json
_base_ = '../proxy_mask_rcnn/r101_fpn_voc.py'

proxy_file = 'work_dirs/baselines/filled-box_proxy.json'

train_dataloader = dict(dataset=dict(ann_file=proxy_file))
