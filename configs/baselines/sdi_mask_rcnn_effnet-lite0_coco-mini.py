# Simple Does It on the persons of the small real data, as in sdi_mask_rcnn_r101_fpn_voc.py. The
# proxy file comes from
#   python tools/make_baseline_masks.py data/coco_mini/annotations/instances_train.json \
#       work_dirs/baselines/coco-mini_grabcut_raw.json --source grabcut \
#       --images data/coco_mini/train
#   python tools/refine_proxy_masks.py data/coco_mini/annotations/instances_train.json \
#       work_dirs/baselines/coco-mini_grabcut_raw.json \
#       work_dirs/baselines/coco-mini_grabcut_unmerged.json --no-merge
_base_ = '../ablations/mini/mask_rcnn.py'

proxy_file = 'work_dirs/baselines/coco-mini_grabcut_unmerged.json'

denoise = dict(type='mmboxcaseg.DenoiseProxyMasks', min_iou=0.5, ignore=True)
train_pipeline = [_base_.load, _base_.annotations, denoise]
train_pipeline += [_base_.resize, _base_.flip, _base_.pack]
train_dataloader = dict(dataset=dict(ann_file=proxy_file, pipeline=train_pipeline))
