# The same Mask R-CNN on GrabCut's masks in the place of predicted ones, merged and dropped alike:
#   python tools/make_baseline_masks.py data/voc_sbd/annotations/instances_train.json \
#       work_dirs/baselines/grabcut_raw.json --source grabcut --images data/voc_sbd/images
#   python tools/refine_proxy_masks.py data/voc_sbd/annotations/instances_train.json \
#       work_dirs/baselines/grabcut_raw.json work_dirs/baselines/grabcut_proxy.json
_base_ = '../proxy_mask_rcnn/r101_fpn_voc.py'

proxy_file = 'work_dirs/baselines/grabcut_proxy.json'

train_dataloader = dict(dataset=dict(ann_file=proxy_file))
