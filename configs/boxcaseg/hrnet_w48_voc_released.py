# The conventions of the authors' release, where they are not the defaults of this package
# (docs/paper.md). A checkpoint of theirs, made one of this package by
# tools/model_converters/released2mmboxcaseg.py, is tested and draws proxy masks with this config:
# its weights expect this normalisation. Patches must have sides that divide by 32, as 288 and 320
# do: mmseg's HRNet resizes others differently.
_base_ = './hrnet_w48_voc.py'

conv_init = dict(type='mmboxcaseg.NormalInit', std=0.001, layer='Conv2d')
transfer_init = dict(type='mmboxcaseg.NormalInit', std=0.01, layer='Linear', bias_std=0.01)
model = dict(
    data_preprocessor=dict(
        # RGB in [0, 1], less this mean / 255, not divided by a standard deviation. In training the
        # release normalises salient patches in another way; here all patches get this one.
        mean=[102.9801, 115.9465, 122.7717],
        std=[255.0, 255.0, 255.0],
    ),
    weak_head=dict(init_cfg=conv_init),
    salient_head=dict(init_cfg=conv_init),
    transferred_head=dict(init_cfg=transfer_init),
    loss_mil=dict(border='zero'),
)

# Boxes are shifted by up to a quarter of half their size, not of their size, and never flipped.
box_crop = dict(_base_.box_crop, shift_unit='half')
box_pipeline = [_base_.load, box_crop, _base_.pack]
# Every salient image is there twice, as it is and mirrored; patches are flipped top to bottom.
mirror = dict(type='RandomFlip', prob=1.0)
flip = dict(type='RandomFlip', prob=0.5, direction='vertical')
salient_pipeline = [_base_.load, _base_.salient_crop, flip, _base_.pack]
mirrored_pipeline = [_base_.load, mirror, _base_.salient_crop, flip, _base_.pack]
both_ways = dict(
    type='mmengine.ConcatDataset',
    datasets=[
        dict(_base_.salient_dataset, pipeline=salient_pipeline),
        dict(_base_.salient_dataset, pipeline=mirrored_pipeline),
    ],
)
box_patches = dict(_base_.box_patches, pipeline=box_pipeline)
train_dataloader = dict(dataset=dict(datasets=[box_patches, both_ways]))
