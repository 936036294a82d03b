# A further round of Simple Does It, which it calls recursive training: the masks that the network
# of the last round draws into its training boxes, de-noised, teach a new one. Nothing is ignored
# any more. Of the second round:
#   python tools/make_detector_masks.py configs/baselines/sdi_mask_rcnn_r101_fpn_voc.py \
#       work_dirs/sdi_mask_rcnn_r101_fpn_voc/iter_22500.pth --out work_dirs/baselines/sdi_raw.json \
#       --ann data/voc_sbd/annotations/instances_train.json --images data/voc_sbd/images
#   python tools/refine_proxy_masks.py data/voc_sbd/annotations/instances_train.json \
#       work_dirs/baselines/sdi_raw.json work_dirs/baselines/sdi_round2.json --no-merge
_base_ = './sdi_mask_rcnn_r101_fpn_voc.py'

proxy_file = 'work_dirs/baselines/sdi_round2.json'

denoise = dict(_base_.denoise, ignore=False)
train_pipeline = [_base_.load, _base_.annotations, denoise]
train_pipeline += [_base_.resize, _base_.flip, _base_.pack]
train_dataloader = dict(dataset=dict(ann_file=proxy_file, pipeline=train_pipeline))
