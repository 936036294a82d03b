from argparse import ArgumentParser

import pytest
import torch

from mmboxcaseg.cli.options import add_amp_options
from mmboxcaseg.engine.device import check_device, check_gpus, choose_amp
from mmboxcaseg.errors import InputError


def test_check_device():
    check_device('cpu')
    for name in ('gpu', 'cuda:77', ''):
        with pytest.raises(InputError, match=f"device '{name}' is not available here"):
            check_device(name)


# As torch.cpu.get_capabilities() tells them of a Zen 3, a Sapphire Rapids and two Arm processors.
CPUS = {
    'avx2': (dict(avx2=True, avx512_f=False, avx512_bf16=False, amx_bf16=False), False),
    'avx512 alone': (dict(avx2=True, avx512_f=True, avx512_bf16=False, amx_bf16=False), False),
    'avx512_bf16': (dict(avx2=True, avx512_f=True, avx512_bf16=True, amx_bf16=False), True),
    'amx_bf16': (dict(avx2=True, avx512_bf16=False, amx_bf16=True), True),
    'neoverse n1': (dict(neon=True, bf16=False), False),
    'neoverse v1': (dict(neon=True, bf16=True), True),
}


def choose(*options, device):
    parser = ArgumentParser()
    add_amp_options(parser)
    args = parser.parse_args(options)
    return choose_amp(args.amp, args.force_amp, device)


@pytest.mark.parametrize('cpu', CPUS)
def test_amp_needs_instructions(cpu, monkeypatch, capsys):
    capabilities, fast = CPUS[cpu]
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: capabilities, raising=False)
    assert choose('--amp', device='cpu') is fast
    assert choose('--amp', device='cpu:0') is fast
    out = capsys.readouterr().out
    assert (out == '') is fast
    assert fast or out.count('\n') == 2 and 'no bfloat16 instructions' in out
    # Asked for by force, on a GPU, or not asked for, there is nothing to say.
    assert choose('--force-amp', device='cpu') is True
    assert choose('--amp', '--force-amp', device='cpu') is True
    assert choose('--amp', device='cuda:0') is True
    assert choose(device='cpu') is choose(device='cuda') is False
    assert capsys.readouterr().out == ''


def test_amp_where_torch_cannot_tell(monkeypatch, capsys):
    monkeypatch.delattr(torch.cpu, 'get_capabilities', raising=False)
    assert choose('--amp', device='cpu') is False
    monkeypatch.setenv('RANK', '1')
    capsys.readouterr()
    assert choose('--amp', device='cpu') is False
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize(('here', 'wanted', 'enough'), [(0, 2, True), (1, 2, False), (2, 2, True)])
def test_check_gpus(monkeypatch, here, wanted, enough):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: here)
    if enough:
        check_gpus(wanted)  # without a GPU the processes share the CPU
    else:
        with pytest.raises(InputError, match=f'--gpus {wanted}: this machine has {here}'):
            check_gpus(wanted)
