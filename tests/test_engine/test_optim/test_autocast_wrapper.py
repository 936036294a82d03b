import torch
from mmengine.optim import build_optim_wrapper

from mmboxcaseg.registry import MODELS

OPTIM_WRAPPER = dict(
    type='mmboxcaseg.AutocastOptimWrapper',
    optimizer=dict(type='SGD', lr=0.05),
    clip_grad=dict(max_norm=10),
)


def train(model, batch, steps):
    wrapper = build_optim_wrapper(model, OPTIM_WRAPPER)
    inputs, samples = batch
    losses = []
    for _ in range(steps):
        with wrapper.optim_context(model):
            loss, _ = model.parse_losses(model(inputs, samples, mode='loss'))
        wrapper.update_params(loss)
        losses.append(loss.item())
    return losses


def test_training_in_bfloat16_on_the_cpu(box_caseg_cfg, make_batch):
    model = MODELS.build(box_caseg_cfg())
    dtypes = []
    model.backbone.conv1.register_forward_hook(lambda *args: dtypes.append(args[-1].dtype))
    losses = train(model, make_batch(('box', 'mask', 'box', 'mask')), steps=8)
    assert set(dtypes) == {torch.bfloat16}
    assert torch.isfinite(torch.tensor(losses)).all()
    assert min(losses[4:]) < losses[0]
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_losses_are_those_of_float32(box_caseg_cfg, make_batch):
    model = MODELS.build(box_caseg_cfg())
    inputs, samples = make_batch(('box', 'mask', 'box', 'mask'))
    expected = model(inputs, samples, mode='loss')
    with build_optim_wrapper(model, OPTIM_WRAPPER).optim_context(model):
        losses = model(inputs, samples, mode='loss')
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, expected[name], rtol=0.05, atol=1e-3)
