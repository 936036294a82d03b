"""The network as a file that runs where neither this package nor OpenMMLab is."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor
from torch.export import Dim, ExportedProgram

import mmboxcaseg
from mmboxcaseg.coco.shards import file_hash
from mmboxcaseg.datasets.transforms import BoxPatch, LoadPatchImage, PackPatchInputs
from mmboxcaseg.datasets.transforms.patches import OUTSIDE
from mmboxcaseg.engine.checks import check_slack
from mmboxcaseg.engine.config import box_pipeline, config_errors, load_config
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import check_output, write_bytes
from mmboxcaseg.models.segmentors import BoxCasegGraph
from mmboxcaseg.pretrained import or_shipped
from mmboxcaseg.registry import TRANSFORMS

from .inference import init_model

#: What a graph gives; see :meth:`mmboxcaseg.models.segmentors.BoxCasegGraph.forward`.
OUTPUTS = ('maps', 'levels', 'quality')

_METADATA_FILE = 'mmboxcaseg.json'


def export_model(
    out: str | Path,
    config: Config | str | Path | None = None,
    checkpoint: str | Path | None = None,
) -> str:
    """Write a network as an ONNX file or a program of ``torch.export``.

    It takes patches and boxes, of as many objects as there are, and gives maps, their levels and
    the masks' quality; see :meth:`mmboxcaseg.models.segmentors.BoxCasegGraph.forward`. With it lies
    what a program has to know that feeds it; see :func:`graph_metadata`. docs/deployment.md has
    more, and ``demo/onnx_masks.py`` is such a program.

    Args:
        out: File to write, ``.onnx`` or ``.pt2``.
        config: Config of the BoxCaseg; its ``test_cfg`` says how masks are made.
        checkpoint: Its checkpoint; without both, the network that comes with the package.

    Returns:
        What was written, and how far its maps are from the network's own.

    Raises:
        InputError: If something that was given cannot be used, ONNX is asked for and not
            installed, or the network cannot be exported.

    Example:
        >>> from mmboxcaseg.apis import export_model
        >>> export_model('network.onnx')  # doctest: +SKIP
    """
    out = Path(out)
    config, checkpoint = or_shipped(config, checkpoint)
    config = config if isinstance(config, Config) else load_config(config)
    check_output(out, [checkpoint, config.filename or ''], ('.onnx', '.pt2'))
    to_onnx = out.suffix.lower() == '.onnx'
    missing = [name for name in ('onnx', 'onnxscript') if not find_spec(name)]
    if to_onnx and missing:
        raise InputError(
            f'to write {out} {" and ".join(missing)} must be installed: run pip install onnx '
            'onnxscript onnxruntime, or write a .pt2 file'
        )
    model = init_model(config, checkpoint)
    patch = _box_patch(config)
    graph = BoxCasegGraph(model).eval()
    metadata = graph_metadata(graph, patch)
    metadata.update(config=Path(config.filename or '').name, checkpoint=file_hash(checkpoint))
    example = _random_inputs(graph, patch.size)
    program = _export(graph, example, config)
    if to_onnx:
        content, run = _onnx(program, graph, metadata)
    else:
        content, run = _pt2(program, metadata)
    difference = _difference(graph, run, example, patch.size)
    write_bytes(content, out)
    inputs = ', '.join(f'{name} {tuple(example[name].shape[1:])}' for name in graph.inputs)
    return f'{len(content) / 1e6:.1f} MB; takes of each object {inputs}; {difference}'


def graph_metadata(graph: BoxCasegGraph, patch: BoxPatch) -> dict[str, Any]:
    """What a program has to know that feeds a graph, and what may interest a reader.

    Args:
        graph: The graph.
        patch: What crops its patches.

    Returns:
        ``height`` and ``width`` of the patches, the ``margin`` around the boxes that they show, the
        ``slack`` by which ``windows`` are larger than boxes, and ``outside``, the BGR colour
        beyond the image's border. The graph holds the others already: ``mean`` and ``std`` of RGB
        or BGR pixels, ``threshold``, ``calibration``, ``map``, and the ``version`` of the package.
    """
    model = graph.model
    preprocessor = model.data_preprocessor
    normalizes = preprocessor._enable_normalize
    return dict(
        height=patch.size[0],
        width=patch.size[1],
        margin=patch.margin,
        slack=model.slack,
        outside=list(OUTSIDE),
        mean=preprocessor.mean.flatten().tolist() if normalizes else [0.0] * 3,
        std=preprocessor.std.flatten().tolist() if normalizes else [1.0] * 3,
        channels='RGB' if preprocessor._channel_conversion else 'BGR',
        threshold=model.threshold,
        calibration=list(model.calibration),
        map=model.output_map,
        version=mmboxcaseg.__version__,
    )


def _box_patch(config: Config) -> BoxPatch:
    """What crops the patches, if that is all that is done to them."""
    pipeline = box_pipeline(config)
    check_slack(config, pipeline)
    with config_errors(config):
        transforms = [TRANSFORMS.build(transform) for transform in pipeline]
    if [type(transform) for transform in transforms] != [LoadPatchImage, BoxPatch, PackPatchInputs]:
        raise InputError(
            f'the test pipeline of {config.filename or "the config"} must be LoadPatchImage, '
            'BoxPatch and PackPatchInputs, which programs that run the exported network repeat, '
            f'not {", ".join(type(transform).__name__ for transform in transforms)}'
        )
    return transforms[1]


def _random_inputs(
    graph: BoxCasegGraph, size: tuple[int, int], count: int = 3, others: int = 2
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(count)
    height, width = size
    noise = torch.randint(256, (count, height, width, 3), generator=generator)
    bboxes = torch.tensor([width / 8, height / 8, width * 7 / 8, height * 7 / 8]).repeat(count, 1)
    around = bboxes[:, None] + width / 4 * torch.rand(count, others, 4, generator=generator)
    # A tensor of its own: torch.export takes one tensor that is given twice for one input.
    windows = bboxes + torch.tensor([-1, -1, 1, 1])
    inputs = dict(patches=noise.to(torch.uint8), bboxes=bboxes, windows=windows, others=around)
    return {name: inputs[name] for name in graph.inputs}


def _export(graph: BoxCasegGraph, example: dict[str, Tensor], config: Config) -> ExportedProgram:
    shapes = {name: {0: Dim.DYNAMIC} for name in example}
    if 'others' in shapes:
        shapes['others'] = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
    try:
        with torch.no_grad():
            return torch.export.export(graph, (), example, dynamic_shapes=shapes)
    except Exception as error:  # anything that a backbone does can stand in its way
        raise InputError(
            f'the network of {config.filename or "the config"} cannot be exported by torch '
            f'{torch.__version__}: {str(error).strip().splitlines()[0]}'
        ) from error


def _onnx(
    program: ExportedProgram, graph: BoxCasegGraph, metadata: dict[str, Any]
) -> tuple[bytes, Callable | None]:
    # It warns of every op of torchvision where that is not installed, and of its own parts.
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            onnx = torch.onnx.export(
                program, input_names=graph.inputs, output_names=OUTPUTS, dynamo=True, verbose=False
            )
    finally:
        logging.disable(logging.NOTSET)
    onnx.model.metadata_props.update({k: json.dumps(v) for k, v in metadata.items()})
    content = onnx.model_proto.SerializeToString()
    if not find_spec('onnxruntime'):
        return content, None
    import onnxruntime

    session = onnxruntime.InferenceSession(content)
    return content, lambda inputs: session.run(
        OUTPUTS, {name: value.numpy() for name, value in inputs.items()}
    )


def _pt2(program: ExportedProgram, metadata: dict[str, Any]) -> tuple[bytes, Callable]:
    file = io.BytesIO()
    with warnings.catch_warnings():  # of weights that are parts of others
        warnings.simplefilter('ignore')
        torch.export.save(program, file, extra_files={_METADATA_FILE: json.dumps(metadata)})
    module = program.module()
    return file.getvalue(), lambda inputs: module(**inputs)


def _difference(
    graph: BoxCasegGraph, run: Callable | None, example: dict[str, Tensor], size: tuple[int, int]
) -> str:
    """Compare maps with those of the network, of several objects and of one."""
    if run is None:
        return 'not run: ONNX Runtime is not installed'
    greatest = 0.0
    for inputs in (example, _random_inputs(graph, size, count=1, others=0)):
        with torch.no_grad():
            own, maps = graph(**inputs)[0], np.asarray(run(inputs)[0])
        greatest = max(greatest, float(np.abs(own.numpy() - maps).max()))
    return f"its maps of noise differ from the network's by {greatest:.0e} at most"
