# The first round of the prompted network in short, with all of its parts.
_base_ = '../prompted/prompted-boxcaseg_effnet-lite0_1xb16-12e_coco-mini.py'

train_cfg = dict(max_epochs=4)
