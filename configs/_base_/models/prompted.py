# One head, which is told the box and the other boxes of the image, for any backbone.
prompted = dict(
    prompt=dict(type='mmboxcaseg.BoxPrompt', own=True, others=True),
    # A map that copies the box has no multiple-instance loss: the weak head would learn nothing,
    # and the transferred head is made from it.
    weak_head=None,
    transferred_head=None,
    loss_pixel=dict(dice_weight=1.0),
    test_cfg=dict(threshold='best', exclusive=True),
)
