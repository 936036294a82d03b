"""Checkpoints made small enough to hand on: weights alone, in half precision."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import torch

from mmboxcaseg.engine.checkpoint import load_checkpoint_file, written_model
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import check_output, write_bytes


def publish_checkpoint(src: str | Path, dst: str | Path) -> tuple[str, int]:
    """Write the weights of a checkpoint in half precision.

    Of the rest it keeps what kind of network it is, by which a wrong config is refused, and what
    mmdet needs to name classes. The same weights give the same bytes.

    Args:
        src: A checkpoint.
        dst: Checkpoint to write, a .pth file.

    Returns:
        Its SHA-256 and its size in bytes.

    Raises:
        InputError: If a file cannot be read or written, or a weight is not finite or too large for
            half precision.
    """
    check_output(dst, inputs=[src], suffixes=('.pth',))
    checkpoint = load_checkpoint_file(src)
    weights = {
        key.removeprefix('module.'): value.half() if value.is_floating_point() else value.clone()
        for key, value in checkpoint['state_dict'].items()
    }
    too_large = [key for key, value in weights.items() if not torch.isfinite(value).all()]
    if too_large:
        raise InputError(
            f'{src} has {len(too_large)} weights (such as {too_large[0]}) that are too large for '
            f'half precision, which ends at {torch.finfo(torch.half).max:.0f}: train again with '
            'more weight decay, or hand the checkpoint on as it is'
        )
    theirs, meta = checkpoint.get('meta') or {}, {}
    if model := written_model(checkpoint):
        meta['cfg'] = f'model = {model!r}'
    if 'dataset_meta' in theirs:
        meta['dataset_meta'] = theirs['dataset_meta']
    content = io.BytesIO()
    torch.save(dict(meta=meta, state_dict=weights), content)
    write_bytes(content.getvalue(), dst)
    return hashlib.sha256(content.getvalue()).hexdigest(), len(content.getvalue())
