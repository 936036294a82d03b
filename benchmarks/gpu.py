"""What the package does on a GPU, in one command: checks first, times then, into docs/gpu.md.

Nothing is downloaded: weights are random and images are drawn. Sections run in the order of their
worth; one that would not end within --minutes is left out, and the file says so. It is written
again after each. On a machine without a GPU the same runs at a tiny size, as a test, and is
printed alone unless --out is given.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import math
import os
import platform
import shlex
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from itertools import cycle, islice
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch

import mmboxcaseg  # isort: skip -- before mmdet, which needs the ops that it brings
from bench_mask_head import HEIGHT, WIDTH, draw
from bench_training import draw_batch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from table import split
from timing import duration, own_process

from mmboxcaseg.apis import BoxCasegPredictor, init_model
from mmboxcaseg.apis.proxy_generation import ProxyGenerator
from mmboxcaseg.apis.toy_dataset import make_toy_dataset
from mmboxcaseg.apis.training import use_amp
from mmboxcaseg.coco.annotations import annotation_bboxes, load_coco
from mmboxcaseg.coco.groups import ImageGroups
from mmboxcaseg.coco.shards import ShardFolder
from mmboxcaseg.engine.checkpoint import load_checkpoint_file
from mmboxcaseg.engine.config import build_model, load_config
from mmboxcaseg.testing import dicts, make_tiny_data, shrink

ROOT = Path(__file__).parents[1]
DOC = ROOT / 'docs' / 'gpu.md'
W48 = 'boxcaseg/hrnet_w48_voc.py'
SMALL = 'prompted/prompted-boxcaseg_effnet-lite2_1xb16-3e_coco-mini-proxies.py'
TINY_TRAINING = 'demo/boxcaseg_toy.py'
MASK_RCNN = {
    'stock mask head': 'baselines/mask_rcnn_r101_fpn_voc.py',
    'our mask head': 'proxy_mask_rcnn/r101_fpn_voc.py',
}
GIB = 2**30
# What a card of 12 GB has for tensors, beside the CUDA context and the desktop.
SMALL_CARD = 11 * GIB


@dataclass
class Line:
    """A row of a section's table.

    Attributes:
        what: What was checked or timed.
        result: What came out.
        asked: The bound to keep.
        kept: Whether it was; None where there is none.
    """

    what: str
    result: str
    asked: str = ''
    kept: bool | None = None

    def markdown(self) -> str:
        """The row as Markdown."""
        verdict = {None: '', True: ' (yes)', False: ' (**no**)'}[self.kept]
        return f'| {self.what} | {self.result} | {self.asked}{verdict} |'


def bounded(what: str, value: float, bound: float, note: str = '') -> Line:
    """A row of a number that must not exceed a bound."""
    return Line(what, f'{value:.2g}{note}', f'at most {bound:g}', value <= bound)


@dataclass
class Machine:
    """Where everything runs, and what the sections share.

    Attributes:
        folder: For what is drawn and trained; it goes at the end.
        device: The GPU, or the CPU at the tiny size.
        deadline: When everything should have ended, of ``time.monotonic``.
        workers: Processes of a loader, threads of the generation.
        notes: What one section leaves to a later one.
    """

    folder: Path
    device: torch.device
    deadline: float
    workers: int
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def tiny(self) -> bool:
        """Whether there is no GPU."""
        return self.device.type == 'cpu'

    @property
    def left_s(self) -> float:
        """Seconds up to the deadline, and at least a few."""
        return max(5.0, self.deadline - time.monotonic())

    def size(self, full: Any, tiny: Any) -> Any:
        """One of two sizes."""
        return tiny if self.tiny else full

    def __post_init__(self) -> None:
        self._configs: dict[str, Config] = {}
        self._drawing = own_process()
        self._drawn = self._drawing.submit(draw_data, self.folder / 'data', self.tiny)

    @cached_property
    def data(self) -> Path:
        """The drawn set; waits until it is there."""
        self._drawn.result()
        self._drawing.shutdown()
        return self.folder / 'data'

    def config(self, name: str) -> Config:
        """A config on the drawn set, its weights random; without a GPU all of it is tiny."""
        if name not in self._configs:
            self._configs[name] = self._read(name)
        return copy.deepcopy(self._configs[name])

    def _read(self, name: str) -> Config:
        config = load_config(name)
        work_dir = self.folder / 'configs' / Path(name).stem
        work_dir.mkdir(parents=True, exist_ok=True)
        config.work_dir = str(work_dir)
        if self.tiny:
            shrink(config, self.data, work_dir)
        data = self.folder / 'data'  # not waited for: not every section reads it
        for node in dicts(config._cfg_dict):
            kind = node.get('type')
            if isinstance(node.get('init_cfg'), dict) and node['init_cfg']['type'] == 'Pretrained':
                node['init_cfg'] = None
            if kind == 'mmboxcaseg.EfficientNetLite':
                node['pretrained'] = False
            if self.tiny:
                continue
            if kind == 'mmboxcaseg.BoxInstanceDataset':
                prefix = dict(img=str(data / 'train'))
                node.update(data_root='', ann_file=str(data / 'many.json'), data_prefix=prefix)
                node.pop('proxy_file', None)
            elif kind == 'mmboxcaseg.SalientObjectDataset':
                node.update(data_root=str(data / 'salient'), ann_file='', hold_out=0)
        config.load_from = None
        return config

    @property
    def boxes(self) -> tuple[Path, Path]:
        """COCO file and image folder to generate masks for."""
        if self.tiny:
            return self.data / 'coco/annotations/instances.json', self.data / 'coco/train'
        return self.data / 'many.json', self.data / 'train'


def draw_data(folder: Path, tiny: bool) -> None:
    """Draw images of the size of VOC's; ``many.json`` has each of them several times."""
    if tiny:
        make_tiny_data(folder)
        return
    # Without progress bars: they would stand between the first section's lines.
    with open(os.devnull, 'w') as nowhere, redirect_stderr(nowhere):
        make_toy_dataset(folder, seed=0, num_train=24, num_val=1, num_salient=24, size=480)
    path = folder / 'annotations' / 'instances_train.json'
    coco = json.loads(path.read_text())
    many = dict(coco, images=[], annotations=[])
    for turn in range(20):
        for name in ('images', 'annotations'):
            for entry in coco[name]:
                moved = {
                    key: entry[key] + 100_000 * turn for key in ('id', 'image_id') if key in entry
                }
                many[name].append(entry | moved)
    (folder / 'many.json').write_text(json.dumps(many))


# --- times -----------------------------------------------------------------------------------


class Clock:
    """Times pieces of work where they run: on a GPU by its own events, behind the host's back.

    What lies between the end of a piece and the start of the next one is time in which the device
    had nothing to do.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.marks: list[tuple[Any, Any]] = []

    @contextmanager
    def piece(self) -> Iterator[None]:
        """Time what is done in here."""
        start = self._mark()
        yield
        self.marks.append((start, self._mark()))

    def _mark(self) -> Any:
        if self.device.type == 'cpu':
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, first: Any, second: Any) -> float:
        if self.device.type == 'cpu':
            return second - first
        return first.elapsed_time(second) / 1000

    @property
    def seconds(self) -> float:
        """From the first piece's start to the last one's end."""
        synchronize(self.device)
        return self._between(self.marks[0][0], self.marks[-1][1])

    @property
    def waiting(self) -> float:
        """Share of it that lies between the pieces."""
        seconds = self.seconds
        gaps = zip(self.marks, self.marks[1:], strict=False)
        return sum(self._between(end, start) for (_, end), (start, _) in gaps) / seconds


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def busy_share(device: torch.device, function: Callable[[], Any]) -> str:
    """In which share of a call's time any kernel or copy was at work on the GPU, by the profiler.

    Kernels of a launch-bound network have gaps that :class:`Clock` does not see.
    """
    if device.type == 'cpu':
        function()
        return 'not measured on a CPU'
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    synchronize(device)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        start = time.perf_counter()
        function()
        synchronize(device)
        seconds = time.perf_counter() - start
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in profiler.events()
        if event.device_type == DeviceType.CUDA and not getattr(event, 'is_user_annotation', False)
    ]
    return f'{length_of_union(spans) / 1e6 / seconds:.0%}'


def length_of_union(spans: Iterable[tuple[float, float]]) -> float:
    """How much of a line the spans cover, which may overlap."""
    covered, until = 0.0, -math.inf
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    return covered


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Callable[[], str]]:
    """Give a function that says how much memory tensors took, and how much was held for them."""
    clear(device)
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats()

    def say() -> str:
        if device.type == 'cpu':
            return 'memory not measured on a CPU'
        used, held = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        return f'peak {used / GIB:.1f} GiB, {held / GIB:.1f} held'

    yield say
    clear(device)


def clear(device: torch.device) -> None:
    """Give back what nobody holds any more."""
    gc.collect()
    if device.type == 'cuda':
        torch.cuda.empty_cache()


@contextmanager
def exact_fp32() -> Iterator[None]:
    """No TensorFloat-32 in here, which has the mantissa of float16."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def cudnn_benchmark() -> Iterator[None]:
    """Let cuDNN look for its fastest algorithms, as the configs' ``env_cfg`` does in a training."""
    torch.backends.cudnn.benchmark = True
    yield
    torch.backends.cudnn.benchmark = False


# --- networks --------------------------------------------------------------------------------


def random_model(config: Config, channels_last: bool | None = None) -> BaseModel:
    """The network of a config on the CPU; it always has the same weights."""
    torch.manual_seed(0)
    if channels_last is not None:
        config = copy.deepcopy(config)
        config.model.channels_last = channels_last
    model = revert_sync_batchnorm(build_model(config))
    model.init_weights()
    return model.train()


def wrapper_of(config: Config, model: BaseModel, amp: bool = False) -> OptimWrapper:
    """The optimizer as a training has it."""
    config = copy.deepcopy(config)
    if amp:
        use_amp(config)
    return build_optim_wrapper(model, config.optim_wrapper)


def steps(
    machine: Machine,
    model: BaseModel,
    wrapper: OptimWrapper,
    batches: Iterable[dict],
    count: int,
    warm_up: int = 3,
) -> Clock:
    """Train some steps, of which the first ones are not timed."""
    batches = iter(batches)
    for batch in islice(batches, warm_up):
        model.train_step(batch, wrapper)
    clock = Clock(machine.device)
    for batch in islice(batches, count):
        with clock.piece():
            model.train_step(batch, wrapper)
    return clock


# --- sections --------------------------------------------------------------------------------


def check_numbers(machine: Machine) -> Iterator[Line]:
    """Losses, gradients and maps of W48 are the CPU's."""
    config = machine.config(W48)
    model = random_model(config)
    batch = draw_batch(2, machine.size(288, 64))
    host = torch.device('cpu')
    with exact_fp32():
        if machine.tiny:
            # There is no other device to compare with: with itself in another layout.
            other = copy.deepcopy(model).to(memory_format=torch.channels_last)
        else:
            other = copy.deepcopy(model).to(machine.device)
        exact = evaluate(other, batch, machine.device, torch.float64)
        truth = evaluate(model, batch, host, torch.float64)
        single = evaluate(other, batch, machine.device, torch.float32)
        cpu_single = evaluate(model, batch, host, torch.float32)
    half = evaluate(other, batch, machine.device, torch.float32, amp=True)
    yield bounded('losses in float64, relative', exact.loss_error(truth), 1e-6)
    yield bounded('gradients in float64, relative', exact.gradient_error(truth), 1e-5)
    yield bounded('maps in float64, at most', exact.map_error(truth), 1e-5)
    yield bounded('losses in float32, relative', single.loss_error(cpu_single), 1e-4)
    note = f"; the CPU's float32 {cpu_single.map_error(truth):.2g}"
    yield bounded(
        'maps in float32 from those in float64, at most', single.map_error(truth), 1e-4, note
    )
    # Rounding decides which pixel is the highest of a line and what a ReLU lets through, so that
    # with random weights the CPU's own float32 is this far off: float64 is the check.
    rounding = cpu_single.gradient_error(truth)
    note = f"; the CPU's float32 {rounding:.2g}"
    own = single.gradient_error(truth)
    bound = max(0.05, 5 * rounding)
    yield bounded('gradients in float32 from those in float64, relative', own, bound, note)
    yield bounded('losses under autocast, relative', half.loss_error(truth), 2e-2)
    yield bounded('maps under autocast, mean', half.map_error(truth, mean=True), 5e-2)


@dataclass
class Evaluated:
    """Losses by name, all gradients one behind the other, maps by name; float64 on the CPU."""

    losses: dict[str, float]
    gradient: torch.Tensor
    maps: dict[str, torch.Tensor]

    def loss_error(self, other: Evaluated) -> float:
        return max(
            abs(self.losses[name] - value) / abs(value) for name, value in other.losses.items()
        )

    def gradient_error(self, other: Evaluated) -> float:
        return float((self.gradient - other.gradient).norm() / other.gradient.norm())

    def map_error(self, other: Evaluated, mean: bool = False) -> float:
        errors = [(self.maps[name] - value).abs() for name, value in other.maps.items()]
        return max(float(error.mean() if mean else error.max()) for error in errors)


def evaluate(
    model: BaseModel, batch: dict, device: torch.device, dtype: torch.dtype, amp: bool = False
) -> Evaluated:
    """A forward and a backward pass; the network stays as it is."""
    model = copy.deepcopy(model)
    data = model.data_preprocessor(batch, training=True)
    model, inputs = model.to(dtype), data['inputs'].to(dtype)
    half = torch.bfloat16 if device.type == 'cpu' else torch.float16
    with torch.autocast(device.type, half) if amp else nullcontext():
        losses = model.loss(inputs, data['data_samples'])
        total, named = model.parse_losses(losses)
        # With the statistics of the batch: those that a training gathers are not there.
        with torch.no_grad():
            maps = model.probability_maps(inputs, model.available_maps)
    total.backward()
    gradients = [p.grad.flatten().double().cpu() for p in model.parameters()]
    return Evaluated(
        {name: float(value) for name, value in named.items()},
        torch.cat(gradients),
        {name: value.double().cpu() for name, value in maps.items()},
    )


def time_training(machine: Machine) -> Iterator[Line]:
    """Joint training of W48 as in the paper, 16 patches of 288x288 a GPU."""
    config = machine.config(W48)
    size, count = machine.size(16, 2), machine.size(30, 2)
    batch = draw_batch(size, machine.size(288, 64))
    for name, amp, channels_last in (
        ('float32 (TF32 where torch allows it), as the config', False, False),
        ('--amp, channels-last', True, True),
        ('--amp', True, False),
        ('channels-last', False, True),
    ):
        with peak_memory(machine.device) as memory:
            model = random_model(config, channels_last).to(machine.device)
            wrapper = wrapper_of(config, model, amp)
            with cudnn_benchmark():
                clock = steps(machine, model, wrapper, cycle([batch]), count)
                rate = count * size / clock.seconds
                said = memory()
                if machine.device.type == 'cuda':
                    said += f'; {fits(machine, model, wrapper, batch)}'
            yield Line(name, f'{rate:.0f} patches/s, {said}')
            del model, wrapper, clock


def fits(machine: Machine, model: BaseModel, wrapper: OptimWrapper, batch: dict) -> str:
    """Say whether a step fits a card of 12 GB, by trying it with as much."""
    clear(machine.device)
    total = torch.cuda.get_device_properties(machine.device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, SMALL_CARD / total))
    try:
        for _ in range(2):
            model.train_step(batch, wrapper)
        synchronize(machine.device)
        return 'fits 12 GB'
    except RuntimeError as error:  # torch's own, or cuDNN's, which finds no algorithm
        return f'does not fit 12 GB ({type(error).__name__})'
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def time_loading(machine: Machine) -> Iterator[Line]:
    """What the loader gives a training of W48, and how long the GPU waits for it."""
    config = machine.config(W48)
    settings = config.train_dataloader
    settings.num_workers = machine.size(machine.workers, 0)
    if not machine.tiny:
        boxes, salient = settings.dataset.datasets
        settings.dataset.datasets = [boxes, dict(type='RepeatDataset', times=40, dataset=salient)]
    size, count = settings.batch_size, machine.size(30, 1)
    assert machine.data.is_dir()  # it is drawn by now
    loader = Runner.build_dataloader(settings, seed=0)
    batches = iter(loader)
    warm_up = machine.size(5, 0)
    for _ in islice(batches, warm_up):
        pass
    start = time.perf_counter()
    alone = sum(len(batch['inputs']) for batch in islice(batches, count))
    rate = alone / (time.perf_counter() - start)
    yield Line(f'loader alone, {settings.num_workers} workers', f'{rate:.0f} patches/s')
    del batches
    model = random_model(config, channels_last=True).to(machine.device)
    wrapper = wrapper_of(config, model, amp=True)
    # The workers of a training start anew each epoch; what that takes is not in here.
    with cudnn_benchmark():
        clock = steps(machine, model, wrapper, iter(loader), count, warm_up)
    asked, waiting = 'under 10%', clock.waiting if len(clock.marks) > 1 else 0.0
    rate = len(clock.marks) * size / clock.seconds
    yield Line('training from the loader, --amp, channels-last', f'{rate:.0f} patches/s')
    yield Line('- the GPU waits for data', f'{waiting:.1%}', asked, waiting < 0.1)
    few = list(islice(iter(loader), machine.size(5, 1)))
    busy = busy_share(machine.device, lambda: [model.train_step(b, wrapper) for b in few])
    yield Line('- it is busy within the steps', busy)


def time_generation(machine: Machine) -> Iterator[Line]:
    """Proxy masks: as many a second as the GPU gives, and the same as the CPU's."""
    for name, config_name, tta, amp in (
        ('W48, 320x320', W48, False, False),
        ('W48, 320x320, --amp', W48, False, True),
        ('small network, 160x160', SMALL, False, False),
        ('small network, 160x160, --tta', SMALL, True, False),
    ):
        yield from generate(machine, name, config_name, tta, amp)
        clear(machine.device)


def generate(machine: Machine, name: str, config_name: str, tta: bool, amp: bool) -> Iterator[Line]:
    """Rows of one way to generate."""
    config = machine.config(config_name)
    model = settled_model(machine, config)
    ann_file, img_root = machine.boxes
    coco = load_coco(ann_file)
    groups = ImageGroups(coco)

    def predictor(device: torch.device) -> BoxCasegPredictor:
        built = init_model(config, None, str(device))
        built.load_state_dict(model.state_dict())
        return BoxCasegPredictor(built, tta=tta, amp=amp)

    ours = predictor(machine.device)
    for line in check_masks(ours, predictor(torch.device('cpu')), groups, img_root, machine):
        yield replace(line, what=f'{name}: {line.what}')
    images = machine.size(240 if not (tta or config_name == W48) else 120, 2)
    few = ImageGroups(_first(coco, images))
    folder = ShardFolder(machine.folder / f'{name.replace(" ", "_").replace(",", "")}', few)
    folder.open({})
    generator = ProxyGenerator(few, img_root, ours, machine.size(machine.workers, 0))
    packed = list(ours.pack(*generator._load(0)))
    packed = list(islice(cycle(packed), machine.size(ours.batch_size, len(packed))))
    clock = Clock(machine.device)
    predict = ours.predict_packed
    predict(packed)  # what the first batch alone has to wait for
    synchronize(machine.device)

    def timed(packed: list[dict]) -> list[DetDataSample]:
        with clock.piece():
            return predict(packed)

    ours.predict_packed = timed
    start = time.perf_counter()
    boxes = sum(generator.run(folder, list(range(len(folder)))))
    seconds = time.perf_counter() - start
    waiting = clock.waiting
    yield Line(f'{name}: all of the generation', f'{boxes / seconds:.0f} boxes/s')
    kept = None if machine.tiny else waiting < 0.1
    yield Line(f'{name}: the GPU waits between batches', f'{waiting:.1%}', 'under 10%', kept)
    turns = machine.size(5, 1)
    alone = Clock(machine.device)
    for _ in range(turns):
        with alone.piece():
            predict(packed)
    rate = turns * len(packed) / alone.seconds
    busy = busy_share(machine.device, lambda: predict(packed))
    yield Line(f'{name}: the network alone', f'{rate:.0f} boxes/s, GPU busy {busy}')


def settled_model(machine: Machine, config: Config) -> BaseModel:
    """A random network whose norms know the statistics of drawn patches: its maps are not flat."""
    model = random_model(config).to(machine.device)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    batch = draw_batch(8, machine.size(160, 32))
    for sample in batch['data_samples']:
        sample.other_instances = InstanceData(bboxes=torch.zeros(0, 4))
    data = model.data_preprocessor(batch, training=True)
    with torch.no_grad():
        model.loss(data['inputs'], data['data_samples'])
    return model.cpu()


def _first(coco: Any, images: int) -> Any:
    """A COCO file of the first images alone."""
    chosen = coco.images[:images]
    ids = {image.id for image in chosen}
    few = copy.copy(coco)
    few.images = chosen
    few.annotations = [a for a in coco.annotations if a.image_id in ids]
    return few


def check_masks(
    ours: BoxCasegPredictor,
    reference: BoxCasegPredictor,
    groups: ImageGroups,
    img_root: Path,
    machine: Machine,
) -> Iterator[Line]:
    """Compare the masks of some boxes with the CPU's, which runs without half precision."""
    reference.amp = False
    packed: list[dict] = []
    number = machine.size(12, 2)
    for index in range(len(groups)):
        boxes = [a for a in groups.annotations(index) if a.is_object]
        image = cv2.imread(str(img_root / groups.image(index).file_name))
        packed += ours.pack(image, annotation_bboxes(boxes))
        if len(packed) >= number:
            break
    packed = packed[:number]
    expected = [
        reference.masks_of([sample])[0][0]
        for sample in reference.predict_packed(copy.deepcopy(packed))
    ]
    for precision in (exact_fp32, nullcontext):
        with precision():
            samples = ours.predict_packed(copy.deepcopy(packed))
        masks = [ours.masks_of([sample])[0][0] for sample in samples]
        pixels = sum(mask.window.size for mask in expected)
        wrong = sum(
            int(np.count_nonzero(mask.window != other.window))
            for mask, other in zip(masks, expected, strict=True)
        )
        exact = precision is exact_fp32 and not ours.amp
        words = f"pixels other than the CPU's{'' if exact else ', in the precision that is used'}"
        share = wrong / pixels
        result = f'{wrong} of {pixels}, {len(masks)} boxes'
        yield Line(words, result, 'at most 0.1%' if exact else '', share < 1e-3 if exact else None)
        if ours.amp:
            return


def time_mask_rcnn(machine: Machine) -> Iterator[Line]:
    """A step of Mask R-CNN R-101, masks of 80 % of the objects dropped."""
    for name, config_name in MASK_RCNN.items():
        with peak_memory(machine.device) as memory:
            yield from train_mask_rcnn(machine, name, config_name, memory)


def train_mask_rcnn(
    machine: Machine, name: str, config_name: str, memory: Callable[[], str]
) -> Iterator[Line]:
    """Rows of one mask head."""
    config = machine.config(config_name)
    size = machine.size(config.train_dataloader.batch_size, 1)
    batch = draw_images(size, *machine.size((HEIGHT, WIDTH), (128, 160)))
    model = random_model(config).to(machine.device)
    wrapper = wrapper_of(config, model)
    count = machine.size(10, 1)
    with cudnn_benchmark():
        clock = steps(machine, model, wrapper, cycle([batch]), count, machine.size(3, 0))
    rate, said = count * size / clock.seconds, memory()
    losses = model.train_step(batch, wrapper)
    finite = all(bool(torch.isfinite(loss).all()) for loss in losses.values())
    yield Line(name, f'{rate:.1f} images/s, {said}', 'finite losses', finite)
    busy = busy_share(machine.device, lambda: model.train_step(batch, wrapper))
    yield Line('- the GPU is busy within a step', busy)


def draw_images(count: int, height: int, width: int) -> dict:
    """Images with 20 objects each, as the loader of a Mask R-CNN gives them."""
    _, positives, objects = draw(20, height, width)
    batch: dict[str, list] = dict(inputs=[], data_samples=[])
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0)
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=positives.pos_priors.clone(),
            labels=positives.pos_gt_labels % 20,
            masks=objects.masks,
        )
        batch['data_samples'].append(sample)
        shape = (3, height, width)
        batch['inputs'].append(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator))
    return batch


def check_resume(machine: Machine) -> Iterator[Line]:
    """A training that is killed and resumed ends as one that was left alone."""
    for deterministic in (True, False):
        how = 'deterministic' if deterministic else 'as the configs are'
        whole = start_training(machine, f'whole-{how[:4]}', deterministic)
        killed = start_training(machine, f'killed-{how[:4]}', deterministic)
        try:
            kill_after_an_epoch(machine, killed)
            wait(machine, whole)
            resumed = start_training(machine, f'killed-{how[:4]}', deterministic, '--resume')
            wait(machine, resumed)
        except RuntimeError as error:
            yield Line(f'kill and --resume, {how}', str(error), 'runs', False)
            continue
        finally:
            for training in (whole, killed):
                training.process.kill()
        machine.notes.setdefault('whole', (whole, deterministic))
        yield compare_weights(
            f'weights after a kill and --resume, {how}', resumed, whole, 0 if deterministic else 0.1
        )
        if deterministic and machine.tiny:
            return


def check_distributed(machine: Machine) -> Iterator[Line]:
    """DDP and SyncBN: with one process what a training without them gives."""
    if 'whole' not in machine.notes:
        whole = start_training(machine, 'whole', deterministic=False)
        wait(machine, whole)
        machine.notes['whole'] = whole, False
    whole, deterministic = machine.notes['whole']
    one = start_training(machine, 'ddp-1', deterministic, processes=1)
    wait(machine, one)
    backend = 'gloo' if machine.device.type == 'cpu' else 'nccl'
    what = f'weights of one process with {backend} and without'
    yield compare_weights(what, one, whole, 1e-2)
    gpus = torch.cuda.device_count()
    if gpus < 2:
        yield Line('two processes', f'left out: {gpus} GPU')
        return
    wait(machine, start_training(machine, 'ddp-2', deterministic, processes=2))
    yield Line('two processes on two GPUs', 'trained')


@dataclass
class Training:
    """A training in a process of its own."""

    process: subprocess.Popen
    work_dir: Path
    log: Path

    def weights(self) -> dict[str, torch.Tensor]:
        return load_checkpoint_file(self.work_dir / f'epoch_{EPOCHS}.pth')['state_dict']


EPOCHS = 3


def start_training(
    machine: Machine, name: str, deterministic: bool, *options: str, processes: int = 0
) -> Training:
    """Start to train the toy config, its norms SyncBN; with ``processes`` by torchrun."""
    config = machine.config(TINY_TRAINING)
    for node in dicts(config.model):
        if node.get('type') == 'BN':
            node['type'] = 'SyncBN'
    for node in dicts(config.train_dataloader):
        if node.get('type') == 'mmboxcaseg.BoxInstanceDataset' and not machine.tiny:
            node['ann_file'] = str(machine.data / 'annotations' / 'boxes_train.json')
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    config.test_dataloader = config.test_cfg = config.test_evaluator = None
    config.train_cfg.max_epochs = EPOCHS
    config.train_cfg.val_interval = 1000
    config.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=-1)
    config.randomness = dict(seed=0, deterministic=deterministic)
    config.env_cfg.cudnn_benchmark = not deterministic
    config.log_level = 'WARNING'
    config.work_dir = str(machine.folder / 'trainings' / name)
    work_dir = Path(config.work_dir)
    work_dir.parent.mkdir(exist_ok=True)
    path = work_dir.with_name(f'{name}.py')
    config.dump(str(path))
    words = [sys.executable, '-W', 'ignore']
    if processes:
        words += ['-m', 'mmboxcaseg.engine.launch', f'--nproc_per_node={processes}']
        options = (*options, '--launcher', 'pytorch')
    words += ['-m', 'mmboxcaseg', 'train', str(path), *options]
    environment = os.environ | dict(CUBLAS_WORKSPACE_CONFIG=':4096:8')  # deterministic products
    environment['PYTHONPATH'] = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    log = work_dir.with_name(f'{name}{"-resumed" * ("--resume" in options)}.log')
    with log.open('w') as output:
        process = subprocess.Popen(
            words, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    return Training(process, work_dir, log)


def kill_after_an_epoch(machine: Machine, training: Training) -> None:
    """Kill a training as soon as its first checkpoint is there."""
    end = time.monotonic() + machine.left_s
    while not (training.work_dir / 'last_checkpoint').exists():
        if training.process.poll() is not None or time.monotonic() > end:
            wait(machine, training)
            raise RuntimeError('the training ended before it could be killed')
        time.sleep(0.005)
    training.process.send_signal(signal.SIGKILL)
    training.process.wait()
    if (training.work_dir / f'epoch_{EPOCHS}.pth').exists():
        raise RuntimeError('the training ended before it was killed')


def wait(machine: Machine, training: Training) -> None:
    """Wait for the end of a training.

    Raises:
        RuntimeError: If it failed, with its last line.
    """
    try:
        code = training.process.wait(machine.left_s)
    except subprocess.TimeoutExpired:
        os.killpg(training.process.pid, signal.SIGKILL)
        raise RuntimeError('a training did not end in time') from None
    if code:
        text = training.log.read_text()
        print(text[-3000:], flush=True)
        lines = [line for line in text.splitlines() if 'Error' in line] or text.splitlines()
        raise RuntimeError(f'a training ended with {code}: {lines[-1] if lines else ""}')


def compare_weights(what: str, one: Training, other: Training, bound: float) -> Line:
    """Compare the last weights of two trainings: to the bit with a bound of 0."""
    ours, theirs = one.weights(), other.weights()
    if all(torch.equal(ours[name], value) for name, value in theirs.items()):
        return Line(what, 'equal to the bit', 'equal to the bit' if not bound else '', True)
    both = [
        torch.cat([w[name].flatten().double() for name in theirs if w[name].is_floating_point()])
        for w in (ours, theirs)
    ]
    error = float((both[0] - both[1]).norm() / both[1].norm())
    return bounded(f'{what}, relative', error, bound)


def time_compiled(machine: Machine) -> Iterator[Line]:
    """A step of W48 through ``torch.compile``, by the configs' ``compile=True``."""
    if machine.tiny:
        yield Line('W48, --amp, channels-last, compile=True', 'left out without a GPU')
        return
    limit = min(120.0, machine.left_s - 5)
    receive, send = Pipe(duplex=False)
    arguments = (send, machine.config(W48), str(machine.device))
    process = get_context('spawn').Process(target=compiled_steps, args=arguments)
    process.start()
    send.close()
    try:
        done = receive.poll(limit)
        result = receive.recv() if done else f'its first step takes more than {limit:.0f} s'
    except EOFError:
        result = 'the process died'
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with the processes of the compiler
        process.kill()
        process.join()
    yield Line('W48, --amp, channels-last, compile=True', result)


def compiled_steps(connection: Connection, config: Config, device: str) -> None:
    """Send what steps take that are compiled as mmengine's Runner does it."""
    os.setsid()
    try:
        quiet()
        machine = argparse.Namespace(device=torch.device(device))
        batch = draw_batch(16, 288)
        model = random_model(config, channels_last=True).to(device)
        wrapper = wrapper_of(config, model, amp=True)
        model.train_step = torch.compile(model.train_step)
        start = time.perf_counter()
        model.train_step(batch, wrapper)
        synchronize(machine.device)
        first = time.perf_counter() - start
        with cudnn_benchmark():
            clock = steps(machine, model, wrapper, cycle([batch]), 20)
        rate = 20 * 16 / clock.seconds
        peak = torch.cuda.max_memory_allocated() / GIB
        said = f'{rate:.0f} patches/s, peak {peak:.1f} GiB, first step {duration(first)}'
        connection.send(said)
    except Exception as error:  # whatever a compiler raises
        connection.send(f'fails: {type(error).__name__}: {" ".join(str(error).split())[:200]}')


def run_demo(machine: Machine) -> Iterator[Line]:
    """The whole pipeline, by its own command."""
    if machine.tiny:
        yield Line('tools/demo_full.py', 'left out without a GPU: it has a test of its own')
        return
    start = time.perf_counter()
    command = [sys.executable, '-W', 'ignore', ROOT / 'tools' / 'demo_full.py']
    done = subprocess.run(
        [*command, '--work-dir', machine.folder / 'demo'],
        capture_output=True,
        text=True,
        timeout=machine.left_s,
        cwd=ROOT,
    )
    print(done.stdout[-3000:], done.stderr[-2000:], flush=True)
    seconds = time.perf_counter() - start
    yield Line('tools/demo_full.py', duration(seconds), 'ends with 0', done.returncode == 0)


@dataclass
class Section:
    """A part of the run.

    Attributes:
        title: Its heading.
        run: Yields its rows.
        seconds: What it takes on one H100 with 16 cores, about.
    """

    title: str
    run: Callable[[Machine], Iterator[Line]]
    seconds: float


#: In the order of their worth.
SECTIONS = {
    'numbers': Section('The same numbers as on the CPU', check_numbers, 30),
    'training': Section('Training', time_training, 50),
    'generation': Section('Proxy generation', time_generation, 60),
    'loading': Section('Loading', time_loading, 20),
    'mask_rcnn': Section('Mask R-CNN R-101', time_mask_rcnn, 25),
    'resume': Section('Kill and resume', check_resume, 60),
    'distributed': Section('DDP and SyncBN', check_distributed, 25),
    'compile': Section('torch.compile', time_compiled, 120),
    'demo': Section('The demo', run_demo, 200),
}


def main() -> None:
    started = time.monotonic()
    args = parse_args()
    quiet()
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    out = args.out or (DOC if device.type == 'cuda' else None)
    before, after = split(out.read_text()) if out else ('', '')
    workers = min(8, os.cpu_count() or 1)
    left_out: list[str] = []
    parts: list[str] = []
    failed = False

    def write() -> None:
        lines = [describe(device, args.command), *parts]
        if left_out:
            named = '; '.join(left_out)
            lines.append(f'Left out for want of time (--minutes {args.minutes:g}): {named}.')
        text = '\n\n'.join(lines)
        if out:
            out.write_text(f'{before}{text}\n{after}')

    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        deadline = started + 60 * args.minutes
        machine = Machine(Path(folder), device, deadline, workers)
        print(describe(device, args.command), flush=True)
        for name in args.only or SECTIONS:
            section = SECTIONS[name]
            expected = 0 if machine.tiny else section.seconds
            if time.monotonic() + expected > deadline:
                left_out.append(f'{section.title} (about {expected:.0f} s)')
                print(f'\n{left_out[-1]}: left out', flush=True)
                write()
                continue
            print(f'\n{section.title}', flush=True)
            start = time.monotonic()
            lines: list[Line] = []
            try:
                for line in section.run(machine):
                    print(line.markdown(), flush=True)
                    lines.append(line)
            except Exception as error:  # one section's fault must not cost the others
                traceback.print_exc()
                said = ' '.join(f'{type(error).__name__}: {error}'.split())[:300]
                lines.append(Line('**failed**', said.replace('|', '/'), 'runs', False))
                print(lines[-1].markdown(), flush=True)
            clear(device)
            failed |= any(line.kept is False for line in lines)
            took = time.monotonic() - start
            print(f'{took:.1f} s', flush=True)
            head = f'### {section.title} ({took:.0f} s)\n\n| what | result | asked |\n|---|---|---|'
            parts.append('\n'.join([head, *(line.markdown() for line in lines)]))
            write()
    print(f'\n{time.monotonic() - started:.0f} s in all', flush=True)
    if failed:
        raise SystemExit('FAILED: some bound was not kept, see above')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--minutes', type=float, default=8, help='by the clock; what does not fit is left out'
    )
    parser.add_argument('--only', nargs='+', choices=SECTIONS, help='sections to run, in order')
    parser.add_argument('--out', type=Path, help='another file to write into, between its marks')
    args = parser.parse_args()
    args.command = shlex.join(['python', 'benchmarks/gpu.py', *sys.argv[1:]])
    return args


def quiet() -> None:
    """Keep mmengine from logging every weight that is initialised; let configs be built."""
    init_default_scope('mmdet')
    MMLogger.get_instance('mmengine', log_level='ERROR')


def describe(device: torch.device, command: str) -> str:
    """Say when, where and by which command this was measured."""
    name, driver = 'no GPU, at a tiny size', ''
    if device.type == 'cuda':
        properties = torch.cuda.get_device_properties(device)
        name = f'{properties.name}, {properties.total_memory / GIB:.0f} GiB'
        driver = f', CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}'
    return (
        f'Measured on {date.today()} on {name}, {os.cpu_count()} cores, by `{command}`; Python '
        f'{platform.python_version()}, torch {torch.__version__}{driver}, mmboxcaseg '
        f'{mmboxcaseg.__version__}.'
    )


if __name__ == '__main__':
    main()
