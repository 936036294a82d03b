# The parts of mmdet's pipelines in coco_instance.py, and of those on proxy masks.
# Images are read by the package's rule (mmboxcaseg/images.py): EXIF, more than 8 bits, bands.
custom_imports = dict(imports=['mmboxcaseg.images'])
load = dict(type='LoadImageFromFile', backend_args=dict(backend='mmboxcaseg'))
annotations = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
merge_masks = dict(type='mmboxcaseg.MergeProxyMasks')
# A mask trains the mask head if its proxy box agreement is above this; its box always trains.
drop_masks = dict(type='mmboxcaseg.DropProxyMasks', min_agreement=0.95)
resize = dict(type='Resize', scale=(1333, 800), keep_ratio=True)
flip = dict(type='RandomFlip', prob=0.5)
pack = dict(type='PackDetInputs')
# By the release's agreement, as the paper's thresholds and rates are to be read (docs/paper.md).
paper_drop = dict(drop_masks, inclusive_boxes=True)
proxy_pipeline = [load, annotations, merge_masks, paper_drop, resize, flip, pack]
pack_test = dict(pack, meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))

# Proxy masks, for ProxyMaskHead. No data root, because the proxy file does not lie under it.
proxies = dict(type='mmboxcaseg.ProxyCocoDataset', data_root='')
