# The tight boxes of the salient pairs that are left out of the training.
_base_ = '../effnet-lite2_coco-mini_proxies.py'

box = dict(type='mmboxcaseg.BoxFromMask')
test_pipeline = [_base_.test_pipeline[0], box, *_base_.test_pipeline[1:]]
tta_pipeline = [_base_.tta_pipeline[0], box, *_base_.tta_pipeline[1:]]
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmboxcaseg.SalientObjectDataset',
        data_root=_base_.salient_root,
        indices=list(range(0, 2000, 10)),
        metainfo=dict(classes=('object',)),
        test_mode=True,
        pipeline=test_pipeline,
    )
)
