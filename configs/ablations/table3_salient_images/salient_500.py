# Table 3: 500 salient images, drawn by tools/dataset_converters/duts_single.py.
_base_ = '../../boxcaseg/hrnet_w48_voc.py'

train_dataloader = dict(
    dataset=dict(
        datasets=[
            _base_.train_dataloader.dataset.datasets[0],
            dict(_base_.train_dataloader.dataset.datasets[1], ann_file='salient_500.txt'),
        ]
    )
)
