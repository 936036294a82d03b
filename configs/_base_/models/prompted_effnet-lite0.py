# The prompted network on an EfficientNet-Lite0.
_base_ = ['./boxcaseg_effnet-lite0.py', './prompted.py']

model = _base_.prompted
