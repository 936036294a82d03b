# Table 6: the weight of the salient head in the fused map.
_base_ = '{{$ABLATION_BASE:../../boxcaseg/hrnet_w48_voc.py}}'

model = dict(alpha=0.5)
