default_scope = 'mmdet'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='mmboxcaseg.AtomicCheckpointHook', interval=1, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    runtime_info=dict(type='RuntimeInfoHook'),
    # Draws nothing unless tools/test.py is given --show or --show-dir.
    visualization=dict(type='mmboxcaseg.BoxVisualizationHook'),
)
custom_hooks = [
    dict(type='mmboxcaseg.EpochSeedHook'),
    # One set of BN statistics for all ranks before they are tested and saved.
    dict(type='mmengine.SyncBuffersHook'),
]

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
# With a fixed seed a resumed run ends with the weights of an uninterrupted one.
randomness = dict(seed=0)

visualizer = dict(type='mmengine.Visualizer', vis_backends=[dict(type='mmengine.LocalVisBackend')])
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
