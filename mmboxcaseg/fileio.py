"""Files, read or refused in one sentence, and whole or not there: written aside, then renamed."""

from __future__ import annotations

import codecs
import errno
import glob
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mmboxcaseg.archives import PACKED, open_packed
from mmboxcaseg.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_FOLLOW_LINKS = 'MMBOXCASEG_FOLLOW_LINKS'
# What no text has, in UTF-8, Latin-1 or GBK.
_CONTROL = re.compile(rb'[\x00-\x08\x0e-\x1a\x1c-\x1f]')
# Of names aside, for glob; and what is in a folder aside.
_TOKEN = '[0-9a-f]' * 16
_LOCK, _PART = '.lock', 'part'
#: What stands in a file whose content Git LFS keeps elsewhere.
GIT_LFS = b'version https://git-lfs'


class Busy(InputError):
    """Another process is at work there."""


class _OnlyATrial(Exception):
    """Leaves :func:`replacing` before the file is renamed: that it can be written is known."""


def check_output(
    path: str | Path,
    inputs: Iterable[str | Path] = (),
    suffixes: Sequence[str] = ('.json',),
) -> None:
    """Make sure, before long work, that a file can be written; make its folder.

    What runs that were killed have left of it goes.

    Args:
        path: File to write.
        inputs: Files that are read and must not be overwritten.
        suffixes: What its name may end in.

    Raises:
        InputError: If it cannot be written, is an input or has another suffix.
    """
    path = Path(path)
    if _real_path(path) in {_real_path(file) for file in inputs}:
        raise InputError(f'{path} is an input file: give another output file')
    make_folder(path.parent)
    if path.is_dir():
        raise InputError(f'cannot write {path}: it is a folder, give a file')
    if path.suffix.lower() not in suffixes:
        raise InputError(f'cannot write {path}: its name must end in {" or ".join(suffixes)}')
    remove_asides(path)
    # Only trying tells: os.access says yes to root even where nothing can be written.
    with suppress(_OnlyATrial), replacing(path):
        raise _OnlyATrial


def check_inside(folder: str | Path, name: str, who: str) -> None:
    """Check that a name that comes from data does not lead out of a folder.

    It may be an absolute one of a file in the folder. A link in the folder that leads out of it is
    followed where the environment has ``MMBOXCASEG_FOLLOW_LINKS=1``; the folder itself may be a
    link.

    Args:
        folder: A folder that the user has chosen.
        name: Of a file or folder in it, from data.
        who: What the data call it, for the message.

    Raises:
        InputError: If it lies outside.

    Example:
        >>> check_inside('images', '../.ssh/id_rsa', 'image 1')  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        mmboxcaseg.errors.InputError: image 1 leads out of images: correct its name, or give ...
    """
    climbs = '..' in Path(name).parts or os.path.isabs(name)
    if not climbs and os.environ.get(_FOLLOW_LINKS) == '1':
        return
    root, real = _real_path(folder), _real_path(Path(folder, name))
    if root is None or real is None or os.path.commonpath([root, real]) == root:
        return
    if climbs:
        raise InputError(
            f'{who} leads out of {folder}: correct its name, or give the folder above all images, '
            '/ for any absolute name'
        )
    raise InputError(
        f'{who} is or lies behind a link from {folder} to {real}: set {_FOLLOW_LINKS}=1 in the '
        'environment if you know the link, as one of DVC, git-annex or a set made of links, or put '
        'the files themselves there'
    )


def _real_path(path: str | Path) -> str | None:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return None  # no file can have this name


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing.

    Raises:
        InputError: If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'cannot make folder {path}: {error.strerror}') from None


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file aside; it is renamed when all is on the disk, and removed when something fails.

    Args:
        path: The file to write.

    Yields:
        The open file.

    Raises:
        InputError: If it cannot be written.
    """
    path = Path(path)
    # Exclusive, under a name that cannot be guessed: never another's file, never through a link.
    aside = path.with_name(f'{path.name}.{secrets.token_hex(8)}.tmp')
    try:
        with open(aside, 'xb') as file:
            _try_lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException as error:
        with suppress(OSError):
            aside.unlink()
        if not isinstance(error, OSError):
            raise
        raise InputError(f'cannot write {path}: {error.strerror}') from None


@contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """Make a folder aside; it takes the place of what is there when all is written.

    What runs that were killed have left of it goes.

    Args:
        path: The folder to make; its parent must be there.

    Yields:
        The empty folder aside, which goes when something fails.
    """
    path = Path(path)
    for left in path.parent.glob(f'{glob.escape(path.name)}.{_TOKEN}.tmp'):
        _remove_aside_folder(left)
    aside = path.with_name(f'{path.name}.{secrets.token_hex(8)}.tmp')
    aside.mkdir()
    try:
        with lock(aside / _LOCK, path):
            part = aside / _PART
            part.mkdir()
            yield part
            shutil.rmtree(path, ignore_errors=True)
            os.replace(part, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _remove_aside_folder(path: Path) -> None:
    """Remove a folder that :func:`replacing_folder` has left, no other one and no one's at work."""
    with suppress(OSError, InputError):
        if path.is_symlink() or not {entry.name for entry in path.iterdir()} <= {_LOCK, _PART}:
            return
        if not (path / _LOCK).exists():
            path.rmdir()  # was left before anything was in it
            return
        with lock(path / _LOCK, path):
            shutil.rmtree(path)


def remove_asides(path: str | Path) -> None:
    """Remove what runs that were killed have left of a file that :func:`replacing` writes.

    What a run that is at work writes stays.
    """
    path = Path(path)
    _remove_all(path.parent, glob.escape(path.name))


def remove_asides_of(folder: str | Path, suffix: str = '') -> None:
    """Do what :func:`remove_asides` does, for all files of a folder whose names end so."""
    _remove_all(Path(folder), f'*{glob.escape(suffix)}')


def _remove_all(folder: Path, names: str) -> None:
    for aside in folder.glob(f'{names}.{_TOKEN}.tmp'):
        with suppress(OSError), open(aside, 'ab', opener=_open_no_link) as file:
            if _try_lock(file):
                aside.unlink()


def _try_lock(file: BinaryIO, shared: bool = False) -> bool:
    """Lock a file that no other process has locked; where there are no locks, all are free."""
    if fcntl is None:
        return True
    try:
        # Of the two kinds of locks the one that loader workers, which outlive a killed parent for
        # some seconds, do not inherit.
        fcntl.lockf(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def lock(path: str | Path, place: str | Path, shared: bool = False) -> BinaryIO:
    """Keep other processes out until the file is closed or this process ends, however that is.

    Args:
        path: An empty file that stands for the work; it is made, and stays.
        place: What the work is on, for the message.
        shared: Whether those that share it too may be at work at once.

    Returns:
        The open file: whoever drops it lets others in.

    Raises:
        Busy: If another process is at work.
        InputError: If the file cannot be made.
    """
    try:
        file = open(path, 'a+b', opener=_open_no_link)
    except OSError as error:
        raise InputError(f'cannot write {path}: {error.strerror}') from None
    if not _try_lock(file, shared):
        file.close()
        raise Busy(f'another call is at work on {place}: wait for it')
    return file


def share_lock(file: BinaryIO) -> None:
    """Let in those that share it.

    Not by another call of :func:`lock`: of a file that is open twice the first one that is closed
    takes all locks of its process along.

    Args:
        file: Of :func:`lock`, which was not shared.
    """
    _try_lock(file, shared=True)


def _open_no_link(path: str, flags: int) -> int:
    # Nor does it wait for who reads a pipe.
    return os.open(path, flags | _flag('O_NOFOLLOW') | _flag('O_NONBLOCK'), 0o666)


def _flag(name: str) -> int:
    return getattr(os, name, 0)  # Windows lacks some, and what they are for


def link_file(source: Path, target: Path) -> bool:
    """Put a file into another folder by a hard link, or a copy where there can be none.

    Args:
        source: The file.
        target: Where to; its folder is there. A file that is the same already stays.

    Returns:
        Whether the file had to be copied.

    Raises:
        InputError: If it cannot be written, or another file is there.
    """
    # Of a symbolic link the file itself: a relative one leads nowhere from another folder.
    source = source.resolve()
    try:
        if os.path.lexists(target):
            is_same = source.exists() and source.samefile(target)
            if not is_same and read_bytes(source) != read_bytes(target):
                raise InputError(
                    f'{target} is there and differs from {source}: remove it or give another folder'
                )
            return False
        try:
            os.link(source, target)
            return False
        except OSError:
            with replacing(target) as file, opening(source) as opened:
                shutil.copyfileobj(opened, file)
            return True
    except OSError as error:
        raise InputError(f'cannot write {target}: {error.strerror}') from None


@contextmanager
def opening(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file to read; it may lie in a zip or a tar, see :mod:`mmboxcaseg.archives`.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        with _open(path) as file:
            yield file
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f'cannot read {path}: {getattr(error, "strerror", None) or error}'
        ) from None


def _open(path: str | Path) -> AbstractContextManager[BinaryIO]:
    try:
        return open(path, 'rb', opener=_open_regular)
    except (FileNotFoundError, NotADirectoryError):
        file = open_packed(path)
        if file is None:
            raise
        return file


def _open_regular(path: str, flags: int) -> int:
    # Of a pipe even opening would wait, and a device may never end.
    descriptor = os.open(path, flags | _flag('O_NONBLOCK'))
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, 'it is a folder, a pipe or a device, not a file')


def read_bytes(path: str | Path) -> bytes:
    """Read a file; raises what :func:`opening` raises."""
    with opening(path) as file:
        return file.read()


def read_utf8(path: str | Path) -> bytes:
    """Read a text file that must be UTF-8, as JSON and the lists of other tools are.

    Returns:
        Its bytes, without the mark (BOM) that Windows programs put in front.

    Raises:
        InputError: If it cannot be read, or is compressed or of another encoding; says of which.
    """
    data = read_bytes(path).removeprefix(codecs.BOM_UTF8)
    packed = next((name for start, name in PACKED.items() if data.startswith(start)), None)
    if packed:
        raise InputError(f'{path} is compressed ({packed}): unpack it first')
    if data.startswith(GIT_LFS):
        raise InputError(
            f'{path} is not the file but its Git LFS pointer: get it with git lfs pull'
        )
    marked = data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE))
    if marked or (data[:4].count(0) == 3 and data[:4].strip(b'\0') in (data[:1], data[3:4])):
        encoding = 'UTF-32'
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or data[:2].count(0) == 1:
        encoding = 'UTF-16'
    elif data.isascii() or _decodes(data, 'utf-8'):
        return data
    elif _CONTROL.search(data):
        raise InputError(f'{path} is no text file')
    else:
        # Latin-1 seldom has two letters beyond ASCII side by side, GB2312 has nothing else.
        others = 'probably Latin-1 or another old encoding'
        encoding = 'probably GBK' if _decodes(data, 'gb2312') else others
    raise InputError(f'{path} is not UTF-8 text but {encoding}: save it as UTF-8')


def read_text(path: str | Path) -> str:
    """Read a file as :func:`read_utf8` does, as a string."""
    return read_utf8(path).decode()


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def write_json(content: dict | list, path: str | Path) -> None:
    """Write a JSON file as :func:`write_bytes` does."""
    # dumps runs in C, dump does not: ten times faster on a large file.
    write_bytes(json.dumps(content).encode(), path)


def write_bytes(content: bytes, path: str | Path) -> None:
    """Write a file that is whole or not there.

    Raises:
        InputError: If it cannot be written; nothing is left of it.
    """
    with replacing(path) as file:
        file.write(content)
