# The network that comes with the package, first round: salient images alone, in patches of several
# sizes, with boxes as people draw them; maps of half the patch's resolution.
_base_ = [
    '../_base_/models/prompted_effnet-lite2-fine.py',
    '../_base_/datasets/coco-mini_prompted_192.py',
    '../_base_/schedules/adamw_cosine.py',
    '../_base_/default_runtime.py',
]

model = dict(data_preprocessor=dict(sizes=_base_.sizes))
train_cfg = dict(max_epochs=15)
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
auto_scale_lr = dict(base_batch_size=64)
# Each size would be timed anew for every convolution, for longer than an epoch takes on a GPU.
env_cfg = dict(cudnn_benchmark=False)
