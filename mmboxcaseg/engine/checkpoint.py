"""Loading checkpoints with ``weights_only`` left on, and refusing those that do not fit."""

from __future__ import annotations

import ast
import os
import pickle
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from torch import nn

from mmboxcaseg.engine.config import class_name
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import GIT_LFS

# The methods by which mmengine's checkpoints name functions: a HistoryBuffer keeps its statistics,
# a one-cycle schedule its annealing.
_METHODS = {
    HistoryBuffer: ('min', 'max', 'current', 'mean'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}


_CUT_OFF = '{} is not a checkpoint, or was cut off while it was written'

# What weights are saved in, and counters of batches.
_WEIGHT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64)


def _method(owner: type, name: str) -> Any:
    # Stands in for the builtin getattr, by which pickle writes a method: with the real one a file
    # could reach any attribute of anything that is allowed.
    if name not in _METHODS.get(owner, ()):
        raise pickle.UnpicklingError(f'{name} of {owner} is not allowed in a checkpoint')
    return getattr(owner, name)


def _checkpoint_types() -> list[Any]:
    reconstruct = np.zeros(1).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(name)) for name in ('bool', 'int32', 'int64', 'float32', 'float64')]
    # numpy 2 moved its core; a checkpoint carries the name that it was written under.
    moved = [
        (function, f'numpy.{core}.multiarray.{function.__name__}')
        for function in (reconstruct, scalar)
        for core in ('core', '_core')
    ]
    return [
        HistoryBuffer,
        OneCycleParamScheduler,
        (_method, 'builtins.getattr'),
        np.ndarray,
        np.dtype,
        *dtypes,
        *moved,
    ]


def allow_checkpoint_types() -> None:
    """Let torch load what mmengine's own checkpoints hold, and nothing else.

    torch loads with ``weights_only`` by default, which refuses every type that is not allowed by
    name. mmengine's checkpoints hold, beside tensors, the message hub's history buffers and the
    numpy arrays and scalars in them. Some loaders, as mmengine's for addresses and all of
    ``onedl-mmengine``'s, ask torch to run what it refused: for the rest of the process torch is
    told not to. Call it once before a Runner resumes or loads; calling it again changes nothing.
    """
    torch.serialization.add_safe_globals(_checkpoint_types())
    os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'


def load_checkpoint_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a checkpoint on the CPU, without running any code that it may carry.

    Args:
        path: A file that mmengine's Runner wrote, or a bare state dict.

    Returns:
        The checkpoint; it has at least ``state_dict``.

    Raises:
        InputError: If the file is missing, is no checkpoint, holds a type other than those of
            :func:`allow_checkpoint_types`, is damaged, takes more memory than the file is large,
            or has weights that are sparse or quantised, neither floating point nor, as counters
            are, int64, or not finite.
    """
    if not os.path.isfile(path):
        raise InputError(f'there is no checkpoint file {path}')
    _check_whole(path)
    torch.serialization.add_safe_globals(_checkpoint_types())
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # bytes that are no checkpoint fail anywhere in torch.load
        raise InputError(_why_not_loaded(path, error)) from error
    for tensor in _tensors(checkpoint):
        if tensor.layout == torch.strided and not tensor.is_meta and _is_expanded(tensor):
            raise InputError(
                f'{path} holds a tensor of {tensor.numel()} numbers of which it stores only a few: '
                'save contiguous tensors'
            )
    weights = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else None
    if not (
        isinstance(weights, dict)
        and weights
        and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in weights.items())
    ):
        keys = list(weights)[:5] if isinstance(weights, dict) else ()
        raise InputError(
            f'{path} is not a checkpoint: it holds no state dict'
            + (f' but the keys {", ".join(map(repr, keys))}' if keys else '')
            + "; give the weights by their names, bare or under the key 'state_dict'"
        )
    for name, value in weights.items():
        plain = value.layout == torch.strided and not value.is_meta
        if not plain or value.dtype not in _WEIGHT_DTYPES:
            kind = f'{value.dtype}, {value.layout}'.replace('torch.', '')
            raise InputError(
                f'{path} holds the weight {name} as {kind}{" without data" * value.is_meta}: save '
                'dense floating-point weights'
            )
    if weights is checkpoint:
        checkpoint = {'state_dict': weights}
    broken = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise InputError(
            f'{path} holds NaN or infinity in {len(broken)} of its weights (such as {broken[0]}): '
            'the training that wrote it diverged, take an earlier checkpoint'
        )
    return checkpoint


def _check_whole(path: str | os.PathLike[str]) -> None:
    """Check the archive that torch writes: it reads one of any size, and damaged ones too."""
    try:
        with open(path, 'rb') as file:
            start = file.read(len(GIT_LFS))
        if start == GIT_LFS:
            raise InputError(
                f'{path} is not the file but its Git LFS pointer: get it with git lfs pull'
            )
        if start[:4] != b'PK\x03\x04':  # as torch tells its older format
            return
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            is_packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
            if is_packed or sum(entry.file_size for entry in entries) > os.path.getsize(path):
                raise InputError(
                    f'{path} is packed, and may take any memory: unpack it and write it with '
                    'torch.save, which packs nothing'
                )
            damaged = archive.testzip()
    except InputError:
        raise
    except Exception:  # bytes that are no archive fail anywhere
        raise InputError(_CUT_OFF.format(path)) from None
    if damaged:
        raise InputError(
            f'{path} is damaged, for its part {damaged} does not have its checksum: copy it again, '
            'or take an earlier checkpoint'
        )


def _tensors(node: Any) -> Iterator[torch.Tensor]:
    """All tensors of a checkpoint, however deep; what is in it twice is looked at once."""
    nodes, seen = [node], set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, torch.Tensor):
            yield node
        elif isinstance(node, dict | list | tuple | set) and id(node) not in seen:
            seen.add(id(node))
            nodes += node.values() if isinstance(node, dict) else node


def _is_expanded(tensor: torch.Tensor) -> bool:
    return tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()


def _why_not_loaded(path: str | os.PathLike[str], error: Exception) -> str:
    try:
        refused = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # the same bytes again
        return _CUT_OFF.format(path)
    if refused:
        return (
            f"{path} is refused: it holds {', '.join(sorted(refused))}, which mmengine's "
            'checkpoints do not hold and which could run code when loaded'
        )
    return f'{path} cannot be loaded: {" ".join(str(error).split())}'


def check_fits(model: nn.Module, checkpoint: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Refuse a checkpoint of another architecture.

    mmengine itself only logs the keys that differ, and goes on with the rest at random.

    Args:
        model: The model that is to take the weights.
        checkpoint: What :func:`load_checkpoint_file` returned.
        path: Where it came from, for the message.

    Raises:
        InputError: If a weight is missing, left over or of another shape.
    """
    theirs = _state_dict(checkpoint)
    ours = model.state_dict()
    missing = [k for k in ours if k not in theirs and not k.endswith('num_batches_tracked')]
    left_over = [k for k in theirs if k not in ours]
    misshapen = [k for k in ours if k in theirs and ours[k].shape != theirs[k].shape]
    differences = []
    if missing:
        differences.append(f'{len(missing)} weights are missing in it (such as {missing[0]})')
    if left_over:
        differences.append(f'{len(left_over)} are left over (such as {left_over[0]})')
    if misshapen:
        key = misshapen[0]
        differences.append(
            f'{len(misshapen)} have another shape (such as {key}: {tuple(theirs[key].shape)}, '
            f'not {tuple(ours[key].shape)})'
        )
    if differences:
        raise InputError(
            f'{path} is a checkpoint of another architecture than the config: '
            f'{", ".join(differences)}; give the config that it was trained with'
        )


def check_kind(
    model: nn.Module,
    checkpoint: dict[str, Any],
    path: str | os.PathLike[str],
    parts: Sequence[str] = ('model', 'backbone', 'prompt'),
) -> None:
    """Refuse a checkpoint that says of itself that it is of another kind of network.

    Weights of the same shapes can be of another kind: a fourth input channel may be the own box or
    the other boxes. mmengine's Runner writes its config into the checkpoint; a checkpoint without
    one is not refused.

    Args:
        model: The model that is to take the weights.
        checkpoint: What :func:`load_checkpoint_file` returned.
        path: Where it came from, for the message.
        parts: What is compared: the model's class, its backbone's, what it is told of boxes.

    Raises:
        InputError: If one of these is another.
    """
    theirs = written_model(checkpoint)
    if not theirs:
        return
    prompt = getattr(model, 'prompt', None)
    ours = {
        'model': type(model).__name__,
        'backbone': type(getattr(model, 'backbone', None)).__name__,
        'prompt': (bool(prompt and prompt.own), bool(prompt and prompt.others)),
    }
    backbone, prompt = theirs.get('backbone'), theirs.get('prompt')
    if not isinstance(prompt, dict):  # before the network drew its prompts
        prompt = dict(own=bool(prompt), others=bool(theirs.get('neighbours')))
    others = {
        'model': class_name(theirs),
        'backbone': class_name(backbone) if isinstance(backbone, dict) else 'NoneType',
        'prompt': (bool(prompt.get('own', True)), bool(prompt.get('others', False))),
    }
    for part in parts:
        kind = ours[part]
        if others[part] != kind:
            told = 'told (its own box, other boxes): ' if part == 'prompt' else ''
            raise InputError(
                f'{path} is a checkpoint of another kind of network than the config: its {part} '
                f'is {told}{others[part]}, not {kind}; give the config that it was trained with'
            )


def written_model(checkpoint: dict[str, Any]) -> dict[str, Any] | None:
    """The model's config in the text of a checkpoint; no code in it is run.

    Args:
        checkpoint: What :func:`load_checkpoint_file` returned.

    Returns:
        The config as plain dicts, or None if the checkpoint says nothing of it.
    """
    text = (checkpoint.get('meta') or {}).get('cfg')
    try:
        tree = ast.parse(text) if isinstance(text, str) else ast.Module([], [])
        for line in tree.body:
            if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == 'model':
                model = _literal(line.value)
                return model if isinstance(model, dict) else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass  # no text of a config
    return None


def _literal(node: ast.expr) -> Any:
    # As ast.literal_eval, which does not know the dict(...) that mmengine writes.
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return {keyword.arg: _literal(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(child) for child in node.elts]
    return ast.literal_eval(node)


def check_shares_weights(
    model: nn.Module, checkpoint: dict[str, Any], path: str | os.PathLike[str]
) -> None:
    """Refuse a checkpoint to start from of which not one weight fits.

    Fine-tuning takes a part of the weights on purpose; taking none is a mistake. Tensors of a
    single number, such as the bias of a last layer, fit anything and do not count.

    Args:
        model: The model that is to take the weights.
        checkpoint: What :func:`load_checkpoint_file` returned.
        path: Where it came from, for the message.

    Raises:
        InputError: If no weight has the name and shape of one of the model's.
    """
    ours = model.state_dict()
    theirs = _state_dict(checkpoint)
    if not any(k in ours and ours[k].shape == v.shape and v.numel() > 1 for k, v in theirs.items()):
        raise InputError(
            f'{path} is a checkpoint of another architecture than the config: '
            f'not one of its {len(theirs)} weights fits (such as {next(iter(theirs))})'
        )


def check_resumable(checkpoint: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Refuse to resume from a checkpoint that holds weights alone.

    Args:
        checkpoint: What :func:`load_checkpoint_file` returned.
        path: Where it came from, for the message.

    Raises:
        InputError: If the optimizer's or the loop's state is not in it.
    """
    absent = [key for key in ('meta', 'message_hub', 'optimizer') if key not in checkpoint]
    if absent:
        raise InputError(
            f'{path} cannot be resumed, for it holds no {" and no ".join(absent)}; '
            'resume from an epoch_N.pth, or start from these weights with load_from'
        )


def load_model_weights(model: nn.Module, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a checkpoint into a model that it fits entirely.

    Args:
        model: The model; its weights are replaced.
        path: The checkpoint file.

    Returns:
        The checkpoint, for its ``meta``.

    Raises:
        InputError: If it cannot be read or does not fit; see :func:`load_checkpoint_file`,
            :func:`check_kind` and :func:`check_fits`.
    """
    checkpoint = load_checkpoint_file(path)
    check_kind(model, checkpoint, path)
    check_fits(model, checkpoint, path)
    model.load_state_dict(_state_dict(checkpoint), strict=False)
    return checkpoint


def _state_dict(checkpoint: dict[str, Any]) -> dict[str, torch.Tensor]:
    # Saved from inside a DistributedDataParallel, every name starts with `module.`.
    return {key.removeprefix('module.'): value for key, value in checkpoint['state_dict'].items()}
