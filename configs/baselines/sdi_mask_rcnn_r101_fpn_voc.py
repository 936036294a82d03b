# Simple Does It on VOC 2012 + SBD (Table 1): the same Mask R-CNN on what GrabCut's masks and the
# boxes agree on. Pixels of a box that GrabCut takes for ground are ignored; a mask that has less
# than half of its box becomes the box. Nothing is merged or dropped. The proxy file comes from
#   python tools/make_baseline_masks.py data/voc_sbd/annotations/instances_train.json \
#       work_dirs/baselines/grabcut_raw.json --source grabcut --images data/voc_sbd/images
#   python tools/refine_proxy_masks.py data/voc_sbd/annotations/instances_train.json \
#       work_dirs/baselines/grabcut_raw.json work_dirs/baselines/grabcut_unmerged.json --no-merge
_base_ = './grabcut_mask_rcnn_r101_fpn_voc.py'

proxy_file = 'work_dirs/baselines/grabcut_unmerged.json'

denoise = dict(type='mmboxcaseg.DenoiseProxyMasks', min_iou=0.5, ignore=True)
train_pipeline = [_base_.load, _base_.annotations, denoise]
train_pipeline += [_base_.resize, _base_.flip, _base_.pack]
train_dataloader = dict(dataset=dict(ann_file=proxy_file, pipeline=train_pipeline))
