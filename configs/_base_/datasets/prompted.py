# Boxes and salient objects with what is around them; configs say how large the patches are.
_base_ = ['./patches.py', '../tta.py']

crop = dict(type='mmboxcaseg.RandomBoxPatch', shift=0.1, scale=(1.05, 1.7), inside=False)
# What boxes have and salient objects lack: neighbours, objects in front, the image's border, few
# pixels. Boxes of a later round get some more in front.
clutter = dict(type='mmboxcaseg.PasteClutter', prob=0.8, max_num=3, twin_prob=0.3)
box_clutter = dict(type='mmboxcaseg.PasteClutter', prob=0.4, twin_prob=0.3)
truncate = dict(type='mmboxcaseg.RandomTruncate', prob=0.2)
colours = dict(type='PhotoMetricDistortion', hue_delta=9)
end = [_base_.flip, _base_.pack]
test_crop = dict(_base_.test_crop, margin=0.15)

# Salient patches alone in the first round: what a box says is in the prompt, so box patches teach
# once they have proxy masks, in later rounds, at this ratio.
round_sampler = dict(_delete_=True, type='mmboxcaseg.RatioSampler', batch_size=16, ratio=(9, 7))
round_dataset = dict(_base_.both, _delete_=True)

val_evaluator = dict(by_size=True)
test_evaluator = val_evaluator
