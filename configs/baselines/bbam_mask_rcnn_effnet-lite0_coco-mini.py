# BBAM on the persons of the small real data, as in bbam_mask_rcnn_r101_fpn_voc.py. The proxy file
# comes from
#   python tools/train.py configs/baselines/faster_rcnn_effnet-lite0_coco-mini.py
#   python tools/make_detector_masks.py configs/baselines/faster_rcnn_effnet-lite0_coco-mini.py \
#       work_dirs/faster_rcnn_effnet-lite0_coco-mini/epoch_36.pth --source bbam \
#       --ann data/coco_mini/annotations/instances_train.json --images data/coco_mini/train \
#       --out work_dirs/baselines/coco-mini_bbam_raw.json
#   python tools/refine_proxy_masks.py data/coco_mini/annotations/instances_train.json \
#       work_dirs/baselines/coco-mini_bbam_raw.json \
#       work_dirs/baselines/coco-mini_bbam_unmerged.json --no-merge
_base_ = '../ablations/mini/mask_rcnn.py'

proxy_file = 'work_dirs/baselines/coco-mini_bbam_unmerged.json'

denoise = dict(type='mmboxcaseg.DenoiseProxyMasks', min_iou=0.2)
train_pipeline = [_base_.load, _base_.annotations, denoise]
train_pipeline += [_base_.resize, _base_.flip, _base_.pack]
train_dataloader = dict(dataset=dict(ann_file=proxy_file, pipeline=train_pipeline))
