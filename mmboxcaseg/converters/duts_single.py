"""DUTS-Single: the images of DUTS-TR whose mask is one object (Sec. 4)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from tqdm import tqdm

from mmboxcaseg.converters.linking import check_apart, link_files
from mmboxcaseg.datasets import SalientObjectDataset
from mmboxcaseg.errors import InputError, check_count, check_share
from mmboxcaseg.fileio import check_output, write_bytes
from mmboxcaseg.images import IMAGE_SUFFIXES, read_image_shape, read_mask

Entry = TypeVar('Entry')

# DUTS-TR's own folders, those that the package reads, or both in one, as MSRA10K has them.
LAYOUTS = (('DUTS-TR-Image', 'DUTS-TR-Mask'), ('images', 'masks'), ('Imgs', 'Imgs'))
# Of the masks that are written.
_LEVEL = 127
# Names the subsets that were drawn, to tell them from lists that a user put beside them.
DRAWN = 'drawn.txt'
PAPER = "the paper's hand-made list has 7991 of the 10553 of DUTS-TR"


def convert_duts_single(
    duts: Path,
    out: Path,
    *,
    list_file: Path | None,
    level: int,
    max_rest: float,
    min_area: float,
    subsets: Sequence[int],
    seed: int,
) -> list[str]:
    """Keep the images of DUTS-TR whose mask is one object.

    Args:
        duts: DUTS-TR.
        out: Folder to write: ``images``, ``masks``, ``single.txt`` and ``salient_N.txt``.
        list_file: Takes the images that it names, instead of looking at the masks.
        level: Pixels of a mask above it are object. Masks that training, whose level is 127,
            would read otherwise are written anew as 0 and 255.
        max_rest: See :func:`judge_mask`.
        min_area: See :func:`judge_mask`.
        subsets: How many of the kept images are drawn into each ``salient_N.txt``.
        seed: Of the subsets.

    Returns:
        Lines that tell what was written.

    Raises:
        InputError: If a setting or a file is wrong, no image is kept or the folder holds others.
    """
    if not 0 <= level < 255:
        raise InputError(f'--level must be in 0 to 254, not {level}')
    check_share('--max-rest', max_rest)
    check_share('--min-area', min_area)
    for number in subsets:
        check_count('--subsets', number)
    if seed < 0:
        raise InputError(f'--seed must be 0 or more, not {seed}')
    check_apart(out, [duts])
    pairs = list_pairs(duts, list_file)
    lists = {n: out / f'salient_{n}.txt' for n in subsets}
    single = out / 'single.txt'
    for path in (single, out / DRAWN, *lists.values()):
        check_output(path, [list_file] if list_file else [], suffixes=('.txt',))

    # Of a list all are taken, but no broken file.
    limits = (1, 0) if list_file else (max_rest, min_area)
    reasons, drawn = judge_pairs(pairs, level, *limits)
    refused = [f'{n} have {reason}' for reason, n in sorted(Counter(reasons.values()).items())]
    kept = [pair for pair in pairs if pair not in reasons]
    if not kept:
        raise InputError(
            f'all {len(pairs)} images of {duts} are refused ({", ".join(refused)}): change '
            '--level, --max-rest or --min-area'
        )
    check_leftovers(kept, out)
    images, masks = zip(*kept, strict=True)
    copied = link_files(images, out / LAYOUTS[1][0])
    copied += link_files([m for m in masks if m not in drawn], out / LAYOUTS[1][1])
    for mask in drawn & set(masks):
        pixels = 255 * read_mask(mask, level)
        write_bytes(cv2.imencode('.png', pixels)[1].tobytes(), out / LAYOUTS[1][1] / mask.name)
    names = [image.name for image, _ in kept]
    write_list(names, single)
    lines = [f'{single}: {len(kept)} of {len(pairs)} images; {PAPER}']
    if refused:
        lines.append(f'  refused: {", ".join(refused)}')
    if drawn:
        lines.append(f'{len(drawn & set(masks))} masks were written anew as 0 and 255')
    if copied:
        lines.append(f'{copied} files were copied: {out} takes no hard links of them')
    for number in [number for number in lists if number > len(names)]:
        lines.append(f'{lists.pop(number)}: not written, there are only {len(names)} images')
    for path in remove_drawn(out, [path.name for path in lists.values()]):
        lines.append(f'{path}: removed, it was drawn by an earlier run')
    for number, path in lists.items():
        write_list(draw_subset(names, number, seed), path)
        lines.append(f'{path}: {number} images')
    return lines


def list_pairs(duts: Path, list_file: Path | None) -> list[tuple[Path, Path]]:
    """List the pairs of image and mask, all of them or those of a list file.

    Raises:
        InputError: As :class:`SalientObjectDataset`; also if a mask has no image.
    """
    layouts = [layout for layout in LAYOUTS if (duts / layout[0]).is_dir()]
    if not layouts:
        raise InputError(f'{duts} is not DUTS-TR: it has neither DUTS-TR-Image nor images')
    image_folder, mask_folder = layouts[0]
    dataset = SalientObjectDataset(
        data_prefix=dict(img=str(duts / image_folder), mask=str(duts / mask_folder)),
        ann_file=str(list_file or ''),
    )
    samples = [dataset.get_data_info(index) for index in range(len(dataset))]
    pairs = [(Path(sample['img_path']), Path(sample['mask_path'])) for sample in samples]
    if not list_file:
        alone = set((duts / mask_folder).glob('*.png')) - {mask for _, mask in pairs}
        if alone:
            raise InputError(f'mask {min(alone)} has no image: add the image or remove the mask')
    return pairs


def judge_pairs(
    pairs: Sequence[tuple[Path, Path]], level: int, max_rest: float, min_area: float
) -> tuple[dict[tuple[Path, Path], str], set[Path]]:
    """Look at the masks; decode the images too, so that none is cut off.

    Returns:
        The pairs that are refused and why, and the masks that training would read otherwise.

    Raises:
        InputError: If a file is broken, a mask has no object or another size than its image.
    """
    reasons, drawn = {}, set()
    with tqdm(pairs, desc='look', unit='pair') as progress:
        for image, mask in progress:
            pixels = read_mask(str(mask), level)
            if not read_image_shape(image) == read_image_shape(mask) == pixels.shape:
                raise InputError(f'mask {mask} has another size than image {image}: replace them')
            if reason := judge_mask(pixels, max_rest, min_area):
                reasons[image, mask] = reason
            if level != _LEVEL and not _same_mask(mask, pixels):
                drawn.add(mask)
    return reasons, drawn


def _same_mask(path: Path, pixels: np.ndarray) -> bool:
    try:
        return np.array_equal(read_mask(path, _LEVEL), pixels)
    except InputError:  # no object
        return False


def judge_mask(mask: np.ndarray, max_rest: float, min_area: float) -> str | None:
    """Tell why a mask is not the mask of one object of some size.

    "We filter out images which contain multiple objects" (Sec. 4); salient objects "occupy a large
    region in their images" (Sec. 3.2.1). Parts are connected by edges or corners.

    Args:
        mask: (H, W) uint8, 0 or 1, with an object.
        max_rest: A part larger than this share of the largest one is a second object.
        min_area: Smallest share of the image that the largest part covers.

    Returns:
        The reason; None if there is one object.
    """
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = np.sort(stats[1:, cv2.CC_STAT_AREA])[::-1]
    if len(areas) > 1 and areas[1] > max_rest * areas[0]:
        return 'several objects'
    if areas[0] < min_area * mask.size:
        return 'a small object'
    return None


def check_leftovers(kept: Sequence[tuple[Path, Path]], out: Path) -> None:
    """Refuse a folder with other images: training reads all that lie there."""
    suffixes = (IMAGE_SUFFIXES, ('.png',))
    for name, read, files in zip(LAYOUTS[1], suffixes, zip(*kept, strict=True), strict=True):
        there = {path.name for path in (out / name).glob('*') if path.suffix.lower() in read}
        if others := there - {path.name for path in files}:
            raise InputError(
                f'{out / name} holds {len(others)} files that are not kept now, such as '
                f'{min(others)}: remove the folder or give another one'
            )


def remove_drawn(out: Path, names: Sequence[str]) -> list[Path]:
    """Remove the subsets of an earlier run that are not drawn now: they may be of another seed.

    Args:
        out: Output folder; its record of subsets is brought up to date.
        names: Files that are written next.

    Returns:
        What was removed.
    """
    record = out / DRAWN
    before = record.read_text(errors='replace').split() if record.exists() else []
    # Whatever the record says, nothing else is removed.
    old = [out / n for n in before if n not in names and re.fullmatch(r'salient_\d+\.txt', n)]
    for path in old:
        path.unlink(missing_ok=True)
    write_list(names, record)
    return old


def draw_subset(entries: Sequence[Entry], number: int, seed: int) -> list[Entry]:
    """Draw entries, in their order; those of a smaller number are among those of a larger one."""
    order = np.random.default_rng(seed).permutation(len(entries))
    return [entries[index] for index in sorted(order[:number])]


def write_list(names: Iterable[str], path: Path) -> None:
    """Write a list file, a name a line."""
    write_bytes(''.join(f'{name}\n' for name in names).encode(), path)
