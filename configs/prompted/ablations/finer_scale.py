# One more scale, at half of the patch's size, for the head to see outlines by.
_base_ = './all.py'

channels = 32
model = dict(
    backbone=dict(out_stages=(1, 2, 3, 5, 7)),
    neck=dict(in_channels=[16, 24, 40, 112, 320], out_channels=channels, num_outs=5),
    salient_head=dict(in_channels=5 * channels),
)
