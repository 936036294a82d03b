"""Proxy masks for the boxes of a large set, made in parts while the network never waits."""

from __future__ import annotations

import gc
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import tee
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, broadcast_object_list, get_rank, get_world_size
from pycocotools import mask as coco_mask
from tqdm import tqdm

import mmboxcaseg
from mmboxcaseg.archives import state
from mmboxcaseg.coco.annotations import (
    Annotation,
    Image,
    annotation_bboxes,
    load_coco,
    read_masks,
)
from mmboxcaseg.coco.checks import check_bboxes, check_images, check_true_masks
from mmboxcaseg.coco.groups import ImageGroups
from mmboxcaseg.coco.proxies import refine_annotations
from mmboxcaseg.coco.results import mask_result
from mmboxcaseg.coco.shards import SHARD_IMAGES, ShardFolder, file_hash, text_hash
from mmboxcaseg.coco.wrong_entries import WrongEntries
from mmboxcaseg.engine.checks import check_slack
from mmboxcaseg.engine.config import box_pipeline, load_config
from mmboxcaseg.engine.device import check_device, default_device
from mmboxcaseg.engine.distributed import is_first_process, join_processes
from mmboxcaseg.engine.reading import reading_of, set_reading
from mmboxcaseg.errors import InputError, check_count, check_share
from mmboxcaseg.fileio import check_output
from mmboxcaseg.images import DEFAULT_READER, ImageReader
from mmboxcaseg.pretrained import or_shipped
from mmboxcaseg.proxy import BoxMask, mask_rles

from .inference import BoxCasegPredictor, init_model
from .mask_stream import MaskStream, cpu_threads


def generate_proxy_masks(
    ann_file: str | Path | Sequence[str | Path],
    img_root: str | Path,
    out: str | Path,
    *,
    config: Config | str | Path | None = None,
    checkpoint: str | Path | None = None,
    raw_out: str | Path | None = None,
    tta: bool = False,
    amp: bool = False,
    batch_size: int = 32,
    slack: float | None = None,
    keep_masks: bool = False,
    min_part: float = 0.0,
    max_hole: float = 0.0,
    workers: int = 2,
    device: str | None = None,
    launcher: str = 'none',
    reader: ImageReader | None = None,
    trust_boxes: bool = False,
    skip_bad: bool = False,
    shared: bool = False,
) -> str:
    """Give every box of a COCO file a proxy mask.

    Finished parts lie beside ``out`` until it is written: called again with the same arguments,
    this goes on where it was.

    Of several files each is masked as if it were alone. What says that one is finished stays beside
    it, and it is left as it is when this is called again; so does what several calls share.

    Args:
        ann_file: COCO file with boxes; its masks are not read unless they are kept. Several, or a
            folder of them, where ``out`` and ``raw_out`` are folders, for files of the same names.
        img_root: Folder of its images.
        out: COCO file to write: the boxes with ``segmentation``, ``box_agreement`` and ``quality``,
            and with a slack ``mask_bbox``, the mask's own tight box.
        config: Config of the BoxCaseg, or its file.
        checkpoint: Its checkpoint; without both, the network that comes with the package.
        raw_out: COCO results file to write with the masks before merging, made of maps that have
            shared out their pixels, and lost those of true masks that are kept, if the network is
            ``exclusive``.
        tta: Whether to average over the views of the config's ``tta_pipeline``.
        amp: Whether the network runs in half precision.
        batch_size: Boxes predicted at once.
        slack: See :class:`BoxCasegPredictor`.
        keep_masks: Whether annotations with a true mask keep it and only the others get one; see
            :func:`mmboxcaseg.coco.refine_annotations`.
        min_part: Parts of masks that are smaller go, those that true masks cut off too; see
            :func:`mmboxcaseg.coco.refine_annotations`. The masks of ``raw_out`` keep them.
        max_hole: Holes in masks that are not larger are filled, in the same way.
        workers: See :class:`MaskStream`.
        device: Where the network runs; by default the GPU if there is one.
        launcher: ``'pytorch'`` in each of several processes that torchrun started.
        reader: How images are read; by default as the config says.
        trust_boxes: See ``trust`` of :func:`mmboxcaseg.coco.checks.check_bboxes`.
        skip_bad: Whether wrong images and annotations are left out of ``out`` and listed in the
            file beside it that is called ``.skipped.json`` in place of ``.json``; by default the
            first is refused. All images are read once more for it.
        shared: Whether other calls with the same arguments, on this machine or others that see the
            same folders, do parts of the work. Each takes what nobody is at work on, any may end or
            begin at any time, and the last one writes ``out``; of those that are lost a further
            call does the rest.

    Returns:
        How many masks there are and how well they agree with their boxes, in a line for each file,
        or what others are still at work on; empty in the other ones of several processes.

    Raises:
        InputError: If something that was given cannot be used; before the network runs.

    Example:
        >>> from mmboxcaseg.apis import generate_proxy_masks
        >>> generate_proxy_masks('boxes.json', 'images', 'proxy.json')  # doctest: +SKIP
    """
    config, checkpoint = or_shipped(config, checkpoint)
    config = config if isinstance(config, Config) else load_config(config)
    if reader:
        set_reading(config, reader)
    reader = reading_of(box_pipeline(config, tta))
    device = device or default_device()
    img_root = Path(img_root)
    jobs = _jobs(ann_file, Path(out), raw_out)
    if shared and launcher != 'none':
        raise InputError('--shared is for calls without a launcher: start each by itself')
    folder = None
    total = 0
    if is_first_process():
        check_slack(config, box_pipeline(config, tta), slack)
        if not Path(checkpoint).is_file():
            raise InputError(f'there is no checkpoint file {checkpoint}')
        check_device(device)
        check_count('--batch-size', batch_size)
        check_share('--min-part', min_part)
        check_share('--max-hole', max_hole)
        if workers < 0:
            raise InputError(f'--workers must be 0 or more, not {workers}')
        # All that the masks depend on; not how many processes make them, which changes nothing.
        settings = {
            'checkpoint': file_hash(checkpoint),
            'config': text_hash([json.dumps(config.to_dict(), default=repr)]),
            'batch size': str(batch_size),
            'choice of views (--tta)': str(tta),
            'slack (--slack)': str(slack),
            'precision (--amp)': str(amp),
            'true masks (--keep-masks)': str(keep_masks),
            'cleaning (--min-part, --max-hole)': f'{min_part} {max_hole}',
            'kind of device': torch.device(device).type,
            'version of mmboxcaseg': mmboxcaseg.__version__,
            'version of torch': torch.__version__,
            'version of opencv': cv2.__version__,
        }
        inputs = [config.filename or '', checkpoint, *(job.ann_file for job in jobs)]
        checked = partial(
            _checked, inputs, img_root, reader, workers, keep_masks, trust_boxes, skip_bad
        )
        for job in reversed(jobs):  # the first one's boxes are wanted first
            groups, manifest = checked(job)
            total += int(groups.num_boxes.sum())
        folder = ShardFolder(jobs[0].out, groups)
        is_left = folder.open(manifest | settings, shared)
    join_processes(launcher)
    predictor = BoxCasegPredictor(
        init_model(config, checkpoint, device),
        batch_size=batch_size,
        tta=tta,
        amp=amp,
        slack=slack,
    )
    cleaning = dict(min_part=min_part, max_hole=max_hole)
    summaries = []
    with tqdm(total=total, desc='predict', unit='box', disable=not is_first_process()) as progress:
        for job in jobs:
            if folder is None and is_first_process():  # of several only one is held at a time
                groups, manifest = checked(job)
                folder = ShardFolder(job.out, groups)
                is_left = folder.open(manifest | settings, shared)
            # What is left out, one process has found.
            sent = [(groups, is_left) if is_first_process() else None]
            broadcast_object_list(sent)
            groups, is_left = sent[0]
            if folder is None:
                folder = ShardFolder(job.out, groups)
            generator = ProxyGenerator(
                groups, img_root, predictor, workers, cpu_threads(device), reader, **cleaning
            )
            # What is there stays: to look through it for garbage again and again takes a tenth of
            # the time.
            gc.freeze()
            try:
                _write_shards(generator, folder, progress, is_left, shared)
            finally:
                gc.unfreeze()
            if is_first_process():
                summary = _join(folder, job, is_left, shared or len(jobs) > 1)
                summaries.append(f'{job.out}: {summary}' if len(jobs) > 1 else summary)
            folder = None
    return '\n'.join(summaries)


class _Job(NamedTuple):
    """An annotation file, and the files that are made of it."""

    ann_file: Path
    out: Path
    raw_out: Path | None


def _checked(
    inputs: Sequence[str | Path],
    img_root: Path,
    reader: ImageReader,
    workers: int,
    keep_masks: bool,
    trust_boxes: bool,
    skip_bad: bool,
    job: _Job,
) -> tuple[ImageGroups, dict[str, str]]:
    """The boxes of a job, and what its masks depend on beside what all jobs have in common."""
    wrong = WrongEntries(skip_bad)
    coco = load_coco(job.ann_file, wrong=wrong)
    check_bboxes(coco, trust=trust_boxes, wrong=wrong)
    inputs = [*inputs, *(img_root / image.file_name for image in coco.images)]
    check_output(job.out, inputs)
    if job.raw_out:
        if job.raw_out.resolve() == job.out.resolve():
            raise InputError(f'--out and --raw-out are both {job.out}: give different files')
        check_output(job.raw_out, inputs)
    skipped = job.out.with_suffix('.skipped.json')
    if skip_bad:
        check_output(skipped, inputs)
    check_images(coco, img_root, reader, wrong, workers)
    if keep_masks:
        check_true_masks(coco, wrong)
    if skip_bad:
        wrong.tell(job.ann_file, skipped)
    groups = ImageGroups(coco, keep_masks)
    paths = (img_root / groups.image(i).file_name for i in groups.num_boxes.nonzero()[0])
    return groups, {
        'annotation file': file_hash(job.ann_file),
        # To read the whole set would take minutes.
        'state of the images': text_hash(map(state, paths)),
        'choice of entries (--skip-bad)': text_hash([json.dumps(wrong.found)]),
    }


def _jobs(
    ann_file: str | Path | Sequence[str | Path], out: Path, raw_out: str | Path | None
) -> list[_Job]:
    raw_out = Path(raw_out) if raw_out else None
    given = [ann_file] if isinstance(ann_file, str | Path) else ann_file
    files: list[Path] = []
    for path in map(Path, given):
        files += sorted(path.glob('*.json')) if path.is_dir() else [path]
    if len(given) == 1 and files == [Path(given[0])]:
        return [_Job(files[0], out, raw_out)]
    if not files:
        raise InputError(f'{given[0]} holds no .json file: give annotation files')
    for name, count in Counter(file.name for file in files).most_common(1):
        if count > 1:
            raise InputError(f'{count} annotation files are named {name}: give each its own name')
    for folder in filter(None, (out, raw_out)):
        if folder.is_file() or folder.suffix == '.json':
            raise InputError(
                f'{folder} is no folder: masks of {len(files)} annotation files are written to one'
            )
    return [_Job(file, out / file.name, raw_out and raw_out / file.name) for file in files]


def _join(folder: ShardFolder, job: _Job, is_left: bool, is_noted: bool) -> str:
    """Write what was made, if all of it is there; say what there is."""
    if not is_left and job.raw_out and not job.raw_out.is_file():
        raise InputError(
            f'{job.out} was finished without {job.raw_out}: delete {folder.path} to make it anew'
        )
    if not is_left:
        return f'finished before; to make it anew, delete {folder.path}'
    if not folder.may_join():
        left = sum(not folder.is_done(shard) for shard in range(len(folder)))
        return (
            f'{left} of {len(folder)} parts are left to others that are at work, and the last one '
            'writes it; if they are lost, call again'
        )
    summary = folder.summarize()
    if job.raw_out:
        folder.join_raw(job.raw_out)
    folder.join_proxies(job.out)
    if is_noted:
        folder.finish()
    else:
        folder.remove()
    return summary


def _write_shards(
    generator: ProxyGenerator, folder: ShardFolder, progress: tqdm, is_left: bool, shared: bool
) -> None:
    """Do this process's part of the shards; in the first one, wait for the others' too.

    Args:
        generator: Makes the masks.
        folder: Where to.
        progress: Counts boxes.
        is_left: Whether anything is to do.
        shared: Whether other calls take shards too.
    """
    # Asked once, by one process: the first finished shard would change another's answer.
    todo = [[shard for shard in range(len(folder)) if is_left and not folder.is_done(shard)]]
    broadcast_object_list(todo)
    own = todo[0][get_rank() :: get_world_size()]
    others = set(todo[0]) - set(own)
    start = time.perf_counter()
    done = int(folder.groups.num_boxes.sum()) - sum(map(folder.num_boxes, todo[0]))
    progress.update(done)
    if not progress.disable:
        progress.initial += done  # which took no time

    def see_others() -> None:
        finished = set(filter(folder.is_done, others))
        others.difference_update(finished)
        progress.update(sum(map(folder.num_boxes, finished)))

    for number, boxes in enumerate(generator.run(folder, folder.take(own) if shared else own)):
        progress.update(boxes)
        if number % SHARD_IMAGES == 0 and is_first_process():
            see_others()
    elapsed = time.perf_counter() - start
    while others and is_first_process():
        time.sleep(0.5)
        see_others()
    shares = [share for share in all_gather_object(generator.stream.network_s / elapsed) if share]
    if shares and is_first_process():
        progress.write(f'time in the network: {", ".join(f"{share:.1%}" for share in shares)}')


class ProxyGenerator:
    """Predict, merge and rate the masks of shard after shard.

    A shard is a group of a :class:`MaskStream`: it does not depend on the other ones.

    Args:
        groups: The boxes.
        img_root: Folder of the images.
        predictor: The network.
        workers: See :class:`MaskStream`.
        threads: See :class:`MaskStream`.
        reader: How images are read.
        **cleaning: ``min_part`` and ``max_hole`` of :func:`mmboxcaseg.coco.refine_annotations`.
    """

    def __init__(
        self,
        groups: ImageGroups,
        img_root: str | Path,
        predictor: BoxCasegPredictor,
        workers: int = 0,
        threads: int = 0,
        reader: ImageReader = DEFAULT_READER,
        **cleaning: float,
    ) -> None:
        self.groups = groups
        self.img_root = Path(img_root)
        self.predictor = predictor
        self.reader = reader
        self.cleaning = cleaning
        self.stream = MaskStream(predictor, workers, threads)

    def run(self, folder: ShardFolder, shards: Iterable[int]) -> Iterator[int]:
        """Write shards.

        Args:
            folder: Where to.
            shards: Their numbers; asked for when they are begun.

        Yields:
            For every image, the number of its boxes that got a mask.

        Raises:
            InputError: If an image is broken or of another size than the file says.
        """
        ahead, shards = tee(shards)
        images = ((shard, index) for shard in ahead for index in folder.images(shard))
        results = self.stream.run(images, self._load, self._finish)
        for shard in shards:
            proxies: list[dict] = []
            raw: list[dict] = []
            for index in folder.images(shard):
                image_proxies, image_raw = next(results)
                proxies += image_proxies
                raw += image_raw
                yield int(self.groups.num_boxes[index])
            folder.write(shard, proxies, raw)

    def _load(self, index: int) -> tuple[np.ndarray, ...]:
        """The pixels of an image, its boxes and true masks; one without a box is not read."""
        image, wanted = self.groups.image(index), self.groups.wanted(index)
        bboxes = annotation_bboxes(wanted)
        if not wanted:
            return np.empty((0, 0, 3), np.uint8), bboxes
        pixels = self.reader.read(self.img_root / image.file_name, image.shape)
        if not (self.groups.keep_masks and self.predictor.exclusive):
            return pixels, bboxes
        return pixels, bboxes, true_pixels(self.groups.annotations(index), image.shape)

    def _finish(
        self, index: int, rated: list[tuple[BoxMask, float]]
    ) -> tuple[list[dict], list[dict]]:
        annotations = self.groups.annotations(index)
        return proxies_and_results(
            self.groups.image(index),
            annotations,
            list(filter(self.groups.wants, annotations)),
            rated,
            mask_bbox=self.predictor.slack > 0,
            keep_masks=self.groups.keep_masks,
            **self.cleaning,
        )


def true_pixels(annotations: Iterable[Annotation], img_shape: tuple[int, int]) -> np.ndarray | None:
    """Find the pixels of an image that are known to be objects'.

    Args:
        annotations: Of the image.
        img_shape: (height, width) of the image.

    Returns:
        (height, width) bool, which pixels an object's true mask has; None if there is none.
    """
    true = {a.id: a.true_mask for a in annotations if a.is_object}
    true = {id_: mask for id_, mask in true.items() if mask is not None}
    rles = list(read_masks(true, img_shape, 'the annotation file').values())
    return coco_mask.decode(coco_mask.merge(rles)).view(bool) if rles else None


def proxies_and_results(
    image: Image,
    annotations: Sequence[Annotation],
    wanted: Sequence[Annotation],
    rated: Sequence[tuple[BoxMask, float]],
    **settings: bool | float,
) -> tuple[list[dict], list[dict]]:
    """Turn the masks that were predicted for an image into proxy masks.

    Args:
        image: The image.
        annotations: All of its annotations.
        wanted: Those that a mask was predicted for.
        rated: N masks, of these, and how good each probably is.
        **settings: See :func:`mmboxcaseg.coco.refine_annotations`.

    Returns:
        The annotations with their proxy masks, and N COCO results with the masks before merging.
    """
    rles = mask_rles([mask for mask, _ in rated], [image.shape] * len(rated))
    results = [
        mask_result(annotation, rle, quality)
        for annotation, rle, (_, quality) in zip(wanted, rles, rated, strict=True)
    ]
    raw = {result['ann_id']: result['segmentation'] for result in results}
    scores = {result['ann_id']: result['score'] for result in results}
    return refine_annotations(image, annotations, raw, scores=scores, **settings), results
