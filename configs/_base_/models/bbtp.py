# The loss of BBTP's mask head, with the border as in BBTP's release.
mil_loss = dict(type='mmboxcaseg.MILLoss', smooth_weight=0.05, border='zero')
