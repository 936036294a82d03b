"""Folders of images, which may lie packed in a zip or a tar: ``photos.zip/train/a.jpg`` is a path.

Nothing is unpacked to the disk. An archive is listed once a process, or once before worker
processes are forked; a file in it is then opened where it lies.
"""

from __future__ import annotations

import os
import posixpath
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mmboxcaseg.errors import InputError

#: What files begin with that are compressed, and as what.
PACKED = {
    b'\x1f\x8b': 'gzip',
    b'PK\x03\x04': 'ZIP',
    b'BZh': 'bzip2',
    b'\xfd7zXZ': 'xz',
    b'\x28\xb5\x2f\xfd': 'zstd',
    b'7z\xbc\xaf': '7z',
}
# Bytes that a file may become which is unpacked: an image of 16,384 x 16,384 without compression.
_MOST_UNPACKED = 2**30
_ENCRYPTED = 1  # a bit of a zip's flags
_ZIP_HEADER = struct.Struct('<4s22xHH')  # ends with the lengths of a name and of other fields


class _NoArchive(InputError):
    """A file is neither a zip nor a tar."""


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        start: Where it begins; in a zip, where the header before it does.
        size: Its bytes.
        packed: Those that it takes in the archive; None if it is not compressed.
        checksum: Its CRC-32 as a zip has it.
        fault: Why it is not read; empty if it is.
    """

    start: int
    size: int
    packed: int | None = None
    checksum: int = 0
    fault: str = ''


class Archive:
    """What a zip or a tar holds.

    Args:
        path: The file.

    Attributes:
        members: Name to file; of several with one name the last, as all programs unpack them.

    Raises:
        InputError: If it is neither, broken, or a tar that is compressed as a whole.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with open(path, 'rb') as file:
            start = file.read(512)
            packed = next((name for magic, name in PACKED.items() if start.startswith(magic)), None)
            self._is_zip = packed == 'ZIP'
            if packed and not self._is_zip:
                raise InputError(
                    f'{path} is compressed as a whole ({packed}), so that no image in it can be '
                    'read without all before it: unpack it, or pack it anew as .tar or .zip'
                )
            list_members = _list_zip if self._is_zip else _list_tar
            try:
                members = dict(list_members(file, os.path.getsize(path)))
            except Exception as error:  # broken ones make both modules raise nearly anything
                is_tar = start[257:262] == b'ustar'
                if not (self._is_zip or is_tar):
                    raise _NoArchive(
                        f'{path} is neither a folder of images nor a zip or a tar of them'
                    ) from None
                raise InputError(f'{path} is broken or cut off: pack it anew ({error})') from None
        # Nothing is written by these names, but a path that climbs could not be told from another.
        self.members = {
            name: member
            for name, member in members.items()
            if not (name.startswith(('/', '../')) or name in ('.', '..'))
        }

    @cached_property
    def folders(self) -> dict[str, set[str]]:
        """Each folder with files right in it, and '', the archive itself, to their names."""
        folders: dict[str, set[str]] = {'': set()}
        for path in self.members:
            folder, _, name = path.rpartition('/')
            folders.setdefault(folder, set()).add(name)
        return folders

    def has_folder(self, name: str) -> bool:
        """Whether there is a folder, which may hold folders alone."""
        # Not each folder above each file: of one long name these are a gigabyte.
        folders = self.folders
        return name in folders or any(folder.startswith(f'{name}/') for folder in folders)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open a file to read, by a handle of its own: safe in any thread and process.

        Raises:
            OSError: If it is not there, is not read, or is broken.
        """
        member = self.members.get(name)
        if member is None:
            raise FileNotFoundError(2, os.strerror(2))
        if member.fault:
            raise OSError(0, member.fault)
        part = _part_of_zip if self._is_zip else _part_of_tar
        try:
            with open(self.path, 'rb') as file, part(file, name, member) as opened:
                yield opened
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, struct.error):
            raise OSError(0, 'it is broken in its archive') from None


def _part_of_zip(file: BinaryIO, name: str, member: Member) -> BinaryIO:
    # ZipFile.open would list the archive anew for each handle.
    file.seek(member.start)
    magic, *lengths = _ZIP_HEADER.unpack(file.read(_ZIP_HEADER.size))
    if magic != b'PK\x03\x04':
        raise zipfile.BadZipFile
    file.seek(sum(lengths), os.SEEK_CUR)
    info = zipfile.ZipInfo(name)
    info.file_size, info.CRC = member.size, member.checksum
    if member.packed is None:
        info.compress_size = member.size
    else:
        info.compress_type, info.compress_size = zipfile.ZIP_DEFLATED, member.packed
    return zipfile.ZipExtFile(file, 'r', info)


def _part_of_tar(file: BinaryIO, name: str, member: Member) -> BinaryIO:
    info = tarfile.TarInfo(name)
    info.offset_data, info.size = member.start, member.size
    return tarfile.open(fileobj=file, mode='r:').extractfile(info)


def _list_zip(file: BinaryIO, size: int) -> Iterator[tuple[str, Member]]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            is_stored = info.compress_type == zipfile.ZIP_STORED
            fault = ''
            if info.flag_bits & _ENCRYPTED:
                fault = 'it is encrypted: unpack the archive'
            elif not is_stored and info.compress_type != zipfile.ZIP_DEFLATED:
                fault = 'it is neither stored nor deflated: pack it anew'
            elif not is_stored and info.file_size > _MOST_UNPACKED:
                fault = f'it would become {info.file_size} bytes: unpack the archive'
            elif info.header_offset + (info.file_size if is_stored else info.compress_size) > size:
                fault = 'it ends behind the end of its archive: pack it anew'
            packed = None if is_stored else info.compress_size
            yield (
                posixpath.normpath(info.filename.replace('\\', '/')),
                Member(info.header_offset, info.file_size, packed, info.CRC, fault),
            )


def _list_tar(file: BinaryIO, size: int) -> Iterator[tuple[str, Member]]:
    file.seek(0)
    with tarfile.open(fileobj=file, mode='r:') as archive:
        for info in archive:
            archive.members = []  # which would grow to a kilobyte for each file
            if info.isdir():
                continue
            fault = '' if info.isreg() and not info.issparse() else 'it is a link or a device'
            if info.offset_data + info.size > size and not fault:
                raise InputError(f'{info.name} ends behind its end')
            yield posixpath.normpath(info.name), Member(info.offset_data, info.size, fault=fault)
        end = archive.offset
    # Python takes a header that it cannot read for the end; there are blocks of zeros.
    file.seek(end)
    if any(file.read(512)):
        raise InputError(f'no file begins at byte {end}')


@lru_cache(maxsize=64)
def _archive(path: str, *_: int) -> Archive:
    return Archive(path)


def _find(path: str | Path) -> tuple[Archive, str] | None:
    """The archive in which a path leads, and the name in it; None if it leads in none.

    Raises:
        InputError: If it leads through a file that is no archive.
    """
    path = above = os.path.normpath(path)
    while not os.path.exists(above) and above != os.path.dirname(above):
        above = os.path.dirname(above)
    if not os.path.isfile(above):
        return None
    state = os.stat(above)  # a file that was exchanged is another one
    archive = _archive(above, state.st_ino, state.st_size, state.st_mtime_ns)
    return archive, path[len(above) :].lstrip(os.sep).replace(os.sep, '/')


def open_packed(path: str | Path) -> AbstractContextManager[BinaryIO] | None:
    """Open a file that lies in an archive; None if the path leads in none.

    Raises:
        InputError: If the archive cannot be read.
        OSError: If the file cannot.
    """
    found = _find(path)
    return found[0].open(found[1]) if found else None


def is_file(path: str | Path) -> bool:
    """Whether there is such a file, in an archive too."""
    return os.path.isfile(path) or bool((found := _find(path)) and found[1] in found[0].members)


def is_folder(path: str | Path) -> bool:
    """Whether there is such a folder: an archive, or one in it, too.

    Raises:
        InputError: If it is an archive that is broken or compressed as a whole.
    """
    try:
        return os.path.isdir(path) or bool((found := _find(path)) and found[0].has_folder(found[1]))
    except _NoArchive:
        return False


def check_folder(path: str | Path) -> None:
    """Make sure that there is such a folder.

    Raises:
        InputError: If there is none.
    """
    if not is_folder(path):
        _find(path)  # says so of a file
        raise InputError(
            f'image folder {path} does not exist: give the one that file names of images begin in, '
            'or a zip or a tar of it'
        )


def file_names(path: str | Path) -> set[str]:
    """The names of the files right in a folder, links among them but to folders."""
    if found := _find(path):
        return found[0].folders.get(found[1], set())
    return {
        entry.name
        for entry in os.scandir(path)
        # Of a loop of links, or one to where nobody may look, DirEntry.is_file raises.
        if (os.path.isfile(entry) if entry.is_symlink() else entry.is_file())
    }


def files_below(path: str | Path) -> Iterator[str]:
    """The files in a folder and in those below it, each as a path from there with ``/``."""
    if found := _find(path):
        archive, folder = found
        start = f'{folder}/' if folder else ''
        yield from (name[len(start) :] for name in archive.members if name.startswith(start))
        return
    yield from (file.relative_to(path).as_posix() for file in Path(path).rglob('*'))


def state(path: str | Path) -> str:
    """What changes when a file is written anew: its size and time, in an archive the archive's."""
    try:
        told = os.stat(path)
    except NotADirectoryError:
        archive, name = _find(path)
        if name not in archive.members:  # an archive that was exchanged a moment ago
            raise FileNotFoundError(2, os.strerror(2), str(path)) from None
        told = os.stat(archive.path)
        return f'{archive.members[name].size} {told.st_mtime_ns}'
    return f'{told.st_size} {told.st_mtime_ns}'
