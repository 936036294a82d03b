# The tight boxes of the salient pairs that are left out of the training.
_base_ = '../prompted-boxcaseg_effnet-lite2-fine_1xb16-1e_coco-mini-proxies.py'

box = dict(type='mmboxcaseg.BoxFromMask')
test_pipeline = [_base_.load, box, _base_.test_crop, _base_.pack]
tta_pipeline = [_base_.load, box, _base_.views]
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmboxcaseg.SalientObjectDataset',
        data_root=_base_.salient_dataset.data_root,
        hold_out=_base_.salient_dataset.hold_out,
        metainfo=dict(classes=('object',)),
        test_mode=True,
        pipeline=test_pipeline,
    )
)
