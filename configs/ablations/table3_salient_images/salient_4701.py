# Table 3: the 4701 salient images without objects of PASCAL's classes, picked by hand. The list
# comes with the authors' data.
_base_ = '../../boxcaseg/hrnet_w48_voc.py'

train_dataloader = dict(
    dataset=dict(
        datasets=[
            _base_.train_dataloader.dataset.datasets[0],
            dict(_base_.train_dataloader.dataset.datasets[1], ann_file='salient_4701.txt'),
        ]
    )
)
