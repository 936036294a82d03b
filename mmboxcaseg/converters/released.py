"""Checkpoints of the authors' release, made into ones of this package."""

from __future__ import annotations

import io
import re
from pathlib import Path

import torch
from torch import Tensor

from mmboxcaseg.apis import init_model
from mmboxcaseg.engine.checkpoint import load_checkpoint_file
from mmboxcaseg.errors import InputError, listing
from mmboxcaseg.fileio import check_output, write_bytes

#: Modules of the release's network and of this package's; all others are the backbone's, whose
#: names are those of the original HRNet.
MODULES = {
    'last_layer.0': 'weak_head.conv1',
    'last_layer.1': 'weak_head.norm',
    'last_layer.3': 'weak_head.conv2',
    'fcn.0': 'salient_head.conv1',
    'fcn.1': 'salient_head.norm',
    'fcn.3': 'salient_head.conv2',
    'transfer1': 'transferred_head.transfer1',
    'transfer_bn': 'transferred_head.norm',
    'transfer2': 'transferred_head.transfer2',
}


def convert_checkpoint(src: str | Path, dst: str | Path, config: str | Path) -> int:
    """Turn a checkpoint of the authors' release into one of this package.

    Args:
        src: The release's checkpoint.
        dst: Checkpoint to write, a .pth file.
        config: Config of the BoxCaseg that takes the weights.

    Returns:
        How many weights it has.

    Raises:
        InputError: If a file cannot be read or written, or the weights are not those of the config.
    """
    check_output(dst, inputs=[src, config], suffixes=('.pth',))
    source = load_checkpoint_file(src)['state_dict']
    target = init_model(config).state_dict()
    try:
        weights = convert_released(source, target)
    except InputError as error:
        raise InputError(
            f"{src} does not fit {config}: {error}; give the release's checkpoint, and "
            'the config of its widths by --config'
        ) from None

    # No optimizer and no epoch: training cannot be resumed from it, but can start from it.
    checkpoint = dict(state_dict=weights, meta=dict(converted_from=Path(src).name))
    content = io.BytesIO()
    torch.save(checkpoint, content)
    write_bytes(content.getvalue(), dst)
    return len(weights)


def convert_released(source: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of the authors' release.

    Args:
        source: State dict of the release's network. Its names may begin with ``module.`` and
            ``model.``, in any order and number.
        target: State dict of a :class:`mmboxcaseg.models.BoxCaseg` of the same widths; only names,
            shapes and dtypes count.

    Returns:
        The state dict for that network, in its dtypes. Counters of batches that an old torch did
        not save are 0.

    Raises:
        InputError: If two weights have the same name but for the prefix, or one is missing, left
            over, of another shape or whole numbers instead of floating point or the other way
            round. The names are those of the release.
    """
    names: dict[str, str] = {}
    for key in source:
        name = re.sub(r'^((module|model)\.)+', '', key)
        if name in names:
            raise InputError(f'it has {name} twice, as {names[name]} and as {key}')
        names[name] = key

    weights, missing, misshapen, mistyped = {}, [], [], []
    for key, value in target.items():
        name = _released_name(key)
        if name not in names:
            if name.endswith('num_batches_tracked'):
                weights[key] = torch.zeros_like(value)
            else:
                missing.append(name)
            continue
        given = source[names.pop(name)]
        # The two numbers of a transfer, k and b, may have no dimension.
        if given.shape != value.shape and not given.numel() == value.numel() == 1:
            misshapen.append(f'{name} {tuple(given.shape)} instead of {tuple(value.shape)}')
            continue
        if given.is_floating_point() != value.is_floating_point():
            mistyped.append(f'{name} {given.dtype} instead of {value.dtype}'.replace('torch.', ''))
            continue
        weights[key] = given.to(value.dtype).reshape(value.shape)

    faults = {
        'missing': missing,
        'left over': list(names.values()),
        'of another shape': misshapen,
        'of another type': mistyped,
    }
    if any(faults.values()):
        said = '; '.join(f'{len(f)} {kind}: {listing(f, 5)}' for kind, f in faults.items() if f)
        raise InputError(f'its weights are not those of this network ({said})')
    return weights


def _released_name(key: str) -> str:
    for theirs, ours in MODULES.items():
        if key.startswith(f'{ours}.'):
            return theirs + key.removeprefix(ours)
    return key.removeprefix('backbone.')
