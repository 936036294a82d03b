# Table 4, and Table 6 with alpha 0: the fused map is the transferred one.
_base_ = '{{$ABLATION_BASE:../../boxcaseg/hrnet_w48_voc.py}}'

model = dict(salient_head=None)
