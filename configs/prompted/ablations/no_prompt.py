# The network is not told the box.
_base_ = './all.py'

model = dict(prompt=dict(own=False))
