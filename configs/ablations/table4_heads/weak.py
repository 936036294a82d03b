# Table 4: the weak head alone. Salient images train it too, by their boxes.
_base_ = '{{$ABLATION_BASE:../../boxcaseg/hrnet_w48_voc.py}}'

model = dict(salient_head=None, transferred_head=None)
