# BBAM on VOC 2012 + SBD (Table 1): the same Mask R-CNN on masks of what a detector needs to find
# each object. A mask that has less than a fifth of its box becomes the box, as one of an object
# that the detector does not find; nothing is merged or dropped. The proxy file comes from
#   tools/dist_train.sh configs/baselines/faster_rcnn_r101_fpn_voc.py 2
#   python tools/make_detector_masks.py configs/baselines/faster_rcnn_r101_fpn_voc.py \
#       work_dirs/faster_rcnn_r101_fpn_voc/iter_22500.pth --source bbam \
#       --ann data/voc_sbd/annotations/instances_train.json --images data/voc_sbd/images \
#       --out work_dirs/baselines/bbam_raw.json
#   python tools/refine_proxy_masks.py data/voc_sbd/annotations/instances_train.json \
#       work_dirs/baselines/bbam_raw.json work_dirs/baselines/bbam_unmerged.json --no-merge
_base_ = '../proxy_mask_rcnn/r101_fpn_voc.py'

proxy_file = 'work_dirs/baselines/bbam_unmerged.json'

denoise = dict(type='mmboxcaseg.DenoiseProxyMasks', min_iou=0.2)
train_pipeline = [_base_.load, _base_.annotations, denoise]
train_pipeline += [_base_.resize, _base_.flip, _base_.pack]
train_dataloader = dict(dataset=dict(ann_file=proxy_file, pipeline=train_pipeline))
