"""Salient images with the mask of their one object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from mmengine.dataset import BaseDataset

from mmboxcaseg.errors import InputError, check_count
from mmboxcaseg.fileio import check_inside, read_text
from mmboxcaseg.images import IMAGE_SUFFIXES
from mmboxcaseg.registry import DATASETS


@DATASETS.register_module()
class SalientObjectDataset(BaseDataset):
    """Pairs of an image and a mask, as in DUTS-TR; the patches that a mask supervises.

    Image and mask have the same name but for the suffix; masks are PNG files. They may lie in one
    folder: then all PNG files are masks.

    A sample holds ``img_path``, ``mask_path``, ``mask_level`` and ``supervision`` (``'mask'``).

    Args:
        data_root: The folder that the prefixes are relative to.
        data_prefix: ``img`` and ``mask``: image and mask folder.
        ann_file: A list file, one image name a line, with or without suffix, to use a part of
            the image folder. By default all of it, in the order of the names.
        level: Pixels of a mask above it are object, as with ``--level`` of the converter.
        hold_out: Every so-many-th pair, from the first one on, is kept for a test: with
            ``test_mode`` those pairs are loaded, otherwise the rest. 0 for all pairs in both.
        **kwargs: As in mmengine's ``BaseDataset``.

    Raises:
        InputError: If a folder, an image or a mask is missing, or is a link that leads out of its
            folder (:func:`mmboxcaseg.fileio.check_inside`), the list file names an image
            twice, or there is no image.
    """

    METAINFO = dict(supervision='mask')

    def __init__(
        self,
        data_root: str = '',
        data_prefix: dict | None = None,
        ann_file: str = '',
        hold_out: int = 0,
        level: int = 127,
        **kwargs,
    ) -> None:
        if not 0 <= level < 255:
            raise InputError(f'level must be in 0 to 254, not {level}')
        self.level = level
        if hold_out:
            check_count('hold_out', hold_out)
        self.hold_out = hold_out
        prefix = data_prefix or dict(img='images', mask='masks')
        if not {'img', 'mask'} <= prefix.keys():
            raise InputError(
                f"data_prefix must give the folders 'img' and 'mask', not {sorted(prefix)} alone"
            )
        super().__init__(ann_file, data_root=data_root, data_prefix=prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List the pairs; see the class for what a sample holds and what is raised."""
        folders = Path(self.data_prefix['img']), Path(self.data_prefix['mask'])
        suffixes = set(IMAGE_SUFFIXES)
        if folders[0].is_dir() and folders[1].is_dir() and folders[0].samefile(folders[1]):
            suffixes -= {'.png'}
        images = _files_by_stem(folders[0], suffixes)
        masks = _files_by_stem(Path(self.data_prefix['mask']), ('.png',))
        data_list = []
        for stem in self._listed_stems() if self.ann_file else sorted(images):
            if stem not in images:
                raise InputError(
                    f'image {stem} of {self.ann_file} is not in {self.data_prefix["img"]}'
                )
            if stem not in masks:
                raise InputError(
                    f'salient image {images[stem]} has no mask {stem}.png in '
                    f'{self.data_prefix["mask"]}: add the mask or remove the image'
                )
            data_list.append(
                dict(
                    img_path=str(images[stem]),
                    mask_path=str(masks[stem]),
                    mask_level=self.level,
                    supervision=self.METAINFO['supervision'],
                )
            )
        if self.hold_out and self.test_mode:
            data_list = data_list[:: self.hold_out]
        elif self.hold_out:
            del data_list[:: self.hold_out]
        if not data_list:
            raise InputError(f'no salient image in {self.data_prefix["img"]}')
        return data_list

    def _listed_stems(self) -> list[str]:
        path = Path(self.ann_file)
        if not path.is_file():
            raise InputError(f'list file {path} does not exist')
        names = [line.strip() for line in read_text(path).splitlines()]
        stems: list[str] = []
        for name in filter(None, names):
            stem = name[: name.rindex('.')] if name.lower().endswith(IMAGE_SUFFIXES) else name
            stems.append(stem)
        twice = [stem for stem, count in Counter(stems).items() if count > 1]
        if twice:
            raise InputError(f'list file {path} names image {twice[0]} twice: remove one')
        return stems


def _files_by_stem(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f'folder {folder} does not exist')
    files = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes:
            if path.is_symlink():
                check_inside(folder, path.name, f'{path}')
            first = files.setdefault(path.stem, path)
            if first is not path:
                raise InputError(
                    f'{first} and {path.name} have the same name but for the suffix, so which of '
                    'them a mask belongs to is not known: rename one, with its mask'
                )
    return files
