# The box as a prompt; first round: salient images alone.
_base_ = [
    '../_base_/models/prompted_effnet-lite0.py',
    '../_base_/datasets/coco-mini_prompted.py',
    '../_base_/schedules/adamw_cosine.py',
    '../_base_/default_runtime.py',
]
