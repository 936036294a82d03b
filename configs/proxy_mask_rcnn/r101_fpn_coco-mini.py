# Proxy Mask R-CNN on the small real data, from scratch, small enough for a CPU. The proxy file
# comes from
#   python tools/generate_proxy_masks.py configs/boxcaseg/effnet-lite0_coco-mini.py CHECKPOINT \
#       --ann data/coco_mini/annotations/instances_train.json \
#       --images data/coco_mini/train --out work_dirs/effnet-lite0_coco-mini/proxy.json
_base_ = './r101_fpn_coco.py'

data_root = 'data/coco_mini/'
proxy_file = 'work_dirs/effnet-lite0_coco-mini/proxy.json'
images = dict(img=data_root + 'train/')

# No ImageNet weights, so nothing is frozen.
model = dict(backbone=dict(init_cfg=None, frozen_stages=-1, norm_eval=False))

resize = dict(type='Resize', scale=(512, 512), keep_ratio=True)
train_pipeline = [_base_.load, _base_.annotations, _base_.merge_masks, _base_.drop_masks]
train_pipeline += [resize, _base_.flip, _base_.pack]
test_pipeline = [_base_.load, resize, _base_.annotations, _base_.pack_test]
train_dataloader = dict(
    num_workers=1,
    dataset=dict(ann_file=proxy_file, data_prefix=images, pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        data_root=data_root,
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val/'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val.json')
test_evaluator = val_evaluator
# The base's rate is for 16 images at a time, here there are 2.
optim_wrapper = dict(optimizer=dict(lr=0.0025))
default_hooks = dict(logger=dict(interval=10))
