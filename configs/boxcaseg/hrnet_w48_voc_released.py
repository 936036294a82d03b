# The conventions of the authors' release, where they are not the defaults of this package. A
# checkpoint of theirs, made one of this package by tools/model_converters/released2mmboxcaseg.py,
# is tested and draws proxy masks with this config: its weights expect this normalisation. Patches
# must have sides that divide by 32, as 288 and 320 do: mmseg's HRNet resizes others differently.
_base_ = './hrnet_w48_voc.py'

model = dict(
    data_preprocessor=dict(
        # RGB in [0, 1], less this mean / 255, not divided by a standard deviation. In training the
        # release normalises salient patches in another way; here all patches get this one.
        mean=[102.9801, 115.9465, 122.7717],
        std=[255.0, 255.0, 255.0],
    ),
    loss_mil=dict(border='zero'),
)

# Boxes are shifted by up to a quarter of half their size, not of their size.
box_crop = dict(_base_.box_crop, shift_unit='half')
box_pipeline = [_base_.load, box_crop, _base_.flip, _base_.pack]
train_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(_base_.voc_boxes, pipeline=box_pipeline),
            dict(_base_.salient_dataset, pipeline=_base_.salient_pipeline),
        ]
    )
)
