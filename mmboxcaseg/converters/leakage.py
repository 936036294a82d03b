"""Images of one data set that are nearly the same as images of another.

The paper promises that no salient image is in the target data set (Sec. 3.2.1). Images are
compared by a perceptual hash, as they are and mirrored, which finds them again after new
compression, scaling and small changes of light or border.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from mmboxcaseg.errors import InputError, shown
from mmboxcaseg.images import DEFAULT_READER, IMAGE_SUFFIXES, ImageReader, opening_image

# Those that training reads and others that Pillow does.
SUFFIXES = (*IMAGE_SUFFIXES, '.gif', '.jp2')
# 256 bits. With 64, tens of thousands of images in both folders look alike by chance.
HASH_SIDE = 16
NUM_BITS = HASH_SIDE**2
# Decoding to this side at least, a JPEG may skip its finest detail: several times as fast.
DECODED_SIDE = 128
# Distances held at once: 128 MiB.
BLOCK = 2**25


def check_leakage(
    a: Path, b: Path, distance: int, reader: ImageReader = DEFAULT_READER
) -> tuple[int, list[str]]:
    """Look for images of one folder that are nearly the same as images of another.

    Args:
        a: A folder of images, those in its folders included.
        b: Another one.
        distance: Most bits that the hashes of a pair differ in.
        reader: How images are read.

    Returns:
        How many pairs there are, and lines that tell of them, paths as :func:`shown` gives them.

    Raises:
        InputError: If a folder or an image cannot be read, or both have a folder in common.
    """
    if not 0 <= distance < NUM_BITS // 2:
        raise InputError(f'--distance must be in 0 to {NUM_BITS // 2 - 1}, not {distance}')
    folders_a, folders_b = list_folders(a), list_folders(b)
    if shared := folders_a.keys() & folders_b.keys():
        raise InputError(
            f'folder {min(shared)} belongs to {a} and to {b}, whose images would be '
            'compared with themselves: give folders that share none'
        )
    lines: list[str] = []
    paths_a, paths_b = list_images(folders_a, a, lines), list_images(folders_b, b, lines)
    hashes_a, hashes_b = hash_images(paths_a, a, reader), hash_images(paths_b, b, reader)
    pairs = sorted(
        (bits, paths_a[row], paths_b[column], mirrored)
        for mirrored in (False, True)
        for row, column, bits in near_pairs(hashes_a[:, int(mirrored)], hashes_b[:, 0], distance)
    )
    for bits, path_a, path_b, mirrored in pairs:
        lines.append(f'{bits}\t{shown(path_a)}\t{shown(path_b)}{"  mirrored" if mirrored else ""}')
    lines.append(
        f'{len(pairs)} pairs of {len(paths_a)} and {len(paths_b)} images differ in {distance} '
        f'or fewer of {NUM_BITS} bits' + (': look at them' if pairs else '')
    )
    return len(pairs), lines


def list_folders(folder: Path) -> dict[Path, list[Path]]:
    """List the files of a folder and its folders, those behind symbolic links included.

    Args:
        folder: Where to begin.

    Returns:
        Files by the real path of their folder, each of which is visited once: links may lead back.

    Raises:
        InputError: If a folder cannot be read, or a link leads nowhere.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f'cannot read folder {error.filename}: {error.strerror}')

    if not folder.is_dir():
        raise InputError(f'folder {folder} does not exist')
    folders: dict[Path, list[Path]] = {}
    for root, names, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = Path(root).resolve()
        if real in folders:
            names.clear()
            continue
        folders[real] = [Path(root, name) for name in files]
        for path in folders[real]:
            if not path.exists():
                raise InputError(f'{path} is a link that leads nowhere: mend or remove it')
    return folders


def list_images(folders: dict[Path, list[Path]], folder: Path, lines: list[str]) -> list[Path]:
    """Pick the images of the files found; a line tells how many others there are."""
    files = sorted(path for paths in folders.values() for path in paths)
    paths = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not paths:
        raise InputError(f'no image in {folder}')
    if others := [path for path in files if path.suffix.lower() not in SUFFIXES]:
        text = f'{len(others)} files are no images and are skipped, such as {shown(others[0])}'
        lines.append(f'{folder}: {text}')
    return paths


def hash_images(
    paths: Sequence[Path], folder: Path, reader: ImageReader = DEFAULT_READER
) -> np.ndarray:
    """Hash images, as they are and mirrored.

    Args:
        paths: N images.
        folder: Where they lie, for the progress bar.
        reader: How they are read.

    Returns:
        (N, 2, 256) bool.

    Raises:
        InputError: If an image is broken or too large.
    """
    # Threads will do: Pillow decodes without Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashes = tqdm(
            pool.map(partial(_hash_image, reader=reader), paths),
            f'hash {folder}',
            len(paths),
            unit='image',
        )
        return np.stack(list(hashes))


def _hash_image(path: Path, reader: ImageReader) -> np.ndarray:
    header = reader.header(path)
    if header.is_plain:
        try:
            with opening_image(path) as image:
                image.draft('L', (DECODED_SIDE, DECODED_SIDE))
                grey = image.convert('L')
        except Exception:  # a broken file makes Pillow raise nearly anything
            raise InputError(
                f'{path} cannot be decoded: replace it or remove it from the set'
            ) from None
    else:
        grey = Image.fromarray(reader.read(path)[..., ::-1]).convert('L')
    hashes = [imagehash.phash(view, HASH_SIDE).hash for view in (grey, ImageOps.mirror(grey))]
    return np.reshape(hashes, (2, NUM_BITS))


def near_pairs(
    hashes_a: np.ndarray, hashes_b: np.ndarray, distance: int
) -> Iterator[tuple[int, int, int]]:
    """Find pairs of hashes that differ in few bits.

    Args:
        hashes_a: (N, B) bool.
        hashes_b: (M, B) bool.
        distance: Most bits that may differ.

    Yields:
        Row of the first, row of the second, bits that differ.
    """
    # With bits as -1 and 1 a product counts equal less different ones.
    signs_a, signs_b = (
        np.where(hashes, 1, -1).astype(np.float32) for hashes in (hashes_a, hashes_b)
    )
    bits = signs_a.shape[1]
    step = max(1, BLOCK // len(signs_b))
    for start in tqdm(range(0, len(signs_a), step), desc='compare', leave=False):
        products = signs_a[start : start + step] @ signs_b.T
        for row, column in np.argwhere(products >= bits - 2 * distance):
            yield start + int(row), int(column), int(bits - products[row, column]) // 2
