# Table 4, and Table 6 with alpha 1: the fused map is the salient one.
_base_ = '{{$ABLATION_BASE:../../boxcaseg/hrnet_w48_voc.py}}'

model = dict(transferred_head=None)
