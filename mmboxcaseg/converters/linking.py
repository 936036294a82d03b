"""Files that lie in a data set's folder without being stored a second time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import link_file, make_folder, remove_asides_of


def link_files(sources: Sequence[Path], folder: Path) -> int:
    """Put files into a folder, each under its own name, as hard links.

    Hard links take no room and stay when the source's folder is moved or removed. Where there are
    none, as between two disks, the files are copied. What is there already stays; a link is known
    by its inode, a copy is read again and compared byte by byte.

    Args:
        sources: Files; no two of the same name.
        folder: Made if it is missing.

    Returns:
        How many files had to be copied.

    Raises:
        InputError: If a file cannot be written, or the folder has another one of its name.
    """
    make_folder(folder)
    remove_asides_of(folder)
    with tqdm(sources, desc=f'link {folder.name}', unit='file', leave=False) as progress:
        return sum(link_file(source, folder / source.name) for source in progress)


def check_apart(out: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output folder that is one of the input folders or lies in one.

    Raises:
        InputError: If it does.
    """
    for folder in inputs:
        if out.resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f'{out} is or lies in {folder}, which holds the data to read: give another output '
                'folder'
            )
