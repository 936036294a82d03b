# Views of a box to average over with --tta: margins around it, each as it is and flipped. Configs
# say how large the patches are.
margins = (0.08, 0.15, 0.25)

flips = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
tta_model = dict(type='mmboxcaseg.BoxCasegTTAModel')
