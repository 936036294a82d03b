# The network that comes with the package goes on with somebody's own boxes alone, a few dozen to
# a few thousand: `mmboxcaseg adapt` says where they lie. Masks of the round before supervise.
_base_ = './prompted-boxcaseg_effnet-lite2-fine_1xb16-1e_coco-mini-proxies.py'

train_dataloader = dict(
    num_workers=2,
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    dataset=dict(
        _delete_=True,
        # Few boxes are few steps: an epoch sees each four times.
        type='RepeatDataset',
        times=4,
        dataset=dict(
            _base_.box_dataset,
            proxy_file=_base_.proxy_file,
            # Of the quality that is calibrated for views: the rounds before it had 0.75 of the
            # network's own, which is 0.62 of this.
            min_quality=0.6,
            # No clutter is pasted: the objects for it are cut out of salient images.
            pipeline=[_base_.load, _base_.move, _base_.crop, _base_.colours, *_base_.end],
        ),
    ),
)
# The network teaches itself, so that nothing holds it but where it begins: steps are smaller than
# those of the rounds that salient images take part in. The warm-up is an epoch, for a hundred
# iterations may be more than there are.
optim_wrapper = dict(optimizer=dict(lr=2e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=3)
# Batch norms keep their statistics. 16 patches of a few images, often of one class before one
# background, are no sample of anything, and a test would read other statistics than the training
# did; with those that are there the network begins as what drew the masks.
custom_hooks = [*_base_.custom_hooks, dict(type='mmboxcaseg.KeepNormStatisticsHook')]

# There are no true masks.
val_dataloader = None
val_evaluator = None
val_cfg = None
