# BoxCaseg of boxcaseg/hrnet_w48_voc.py, or any checkpoint of its, tested as a salient-object
# network on DUTS-TE, for the paper's remark that it is on par with U2-Net (Sec. 4.2.2). The images
# and masks of DUTS-TE lie in data/duts_te/{images,masks}.
#   python tools/test.py configs/salient/hrnet_w48_duts-te.py work_dirs/hrnet_w48_voc/epoch_40.pth
_base_ = '../boxcaseg/hrnet_w48_voc.py'

model = dict(test_cfg=dict(maps=['salient', 'transferred', 'fused']))
whole = dict(type='mmboxcaseg.WholeImagePatch', size=_base_.test_size)
test_pipeline = [_base_.load, whole, _base_.pack]
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmboxcaseg.SalientObjectDataset',
        data_root='data/duts_te',
        test_mode=True,
        pipeline=test_pipeline,
    )
)
test_evaluator = dict(type='mmboxcaseg.SalientObjectMetric')
