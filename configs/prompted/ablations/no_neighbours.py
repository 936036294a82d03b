# The network is not told the other boxes of the image.
_base_ = './all.py'

model = dict(prompt=dict(others=False))
