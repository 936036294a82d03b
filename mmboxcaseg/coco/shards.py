"""Finished parts of a long run on disk: whole or absent, never of two runs, joined at the end."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import (
    Busy,
    lock,
    make_folder,
    remove_asides,
    replacing,
    share_lock,
    write_bytes,
)

from .annotations import decode_rows, write_coco, write_list
from .groups import ImageGroups
from .proxies import ProxyAnnotation, summarize_proxies

#: Images in a shard, the unit of work. It is a part of the result: batches end with a shard, and a
#: network may round a patch differently in a batch of another size.
SHARD_IMAGES = 64

_MANIFEST = 'manifest.json'
_LOCK = '.lock'
_JOIN = '.join'
# Of the manifest: the SHA-256 of the file that was made of the shards.
_RESULT = 'result'
# Of a shard, and of who is at work on it.
_OWN = re.compile(r'\d{6,}\.(jsonl|lock)')
# Seconds for which a call may look at the folder alone, before it shares it.
_PATIENCE = 30


class ShardFolder:
    """The shards of one run, beside the file that they will become.

    A shard holds the proxy annotations of :data:`SHARD_IMAGES` consecutive images and, after them,
    their raw masks, one JSON text a line, and last its number, how many lines these are and their
    SHA-256. The manifest says what the masks were made with.

    One call works on a folder, unless all of them share it. Then each takes the next shard that
    nobody is at work on; of a process that dies the lock goes with it, and so its shard is free
    again. Where the file system has no locks two may make the same shard, of the same bytes.

    Args:
        out: The file to be; the folder is ``OUT.shards``.
        groups: The boxes.
    """

    def __init__(self, out: str | Path, groups: ImageGroups) -> None:
        self.out = Path(out)
        self.path = Path(f'{out}.shards')
        self.groups = groups
        self._lock: BinaryIO | None = None
        self._joining: BinaryIO | None = None
        self._taken: dict[int, BinaryIO] = {}

    def __len__(self) -> int:
        """The number of shards when all are finished."""
        return -(-len(self.groups) // SHARD_IMAGES)

    def images(self, shard: int) -> range:
        """The positions of a shard's images in the COCO file."""
        start = shard * SHARD_IMAGES
        return range(start, min(start + SHARD_IMAGES, len(self.groups)))

    def num_boxes(self, shard: int) -> int:
        """How many annotations of a shard are objects."""
        return int(self.groups.num_boxes[self.images(shard)].sum())

    def open(self, manifest: dict[str, str], shared: bool = False) -> bool:
        """Make the folder, or take up the one of a run that was interrupted.

        Args:
            manifest: All that the result depends on, by the name that a user knows it by.
            shared: Whether other calls that share it may be at work on it; by default this one is
                alone.

        Returns:
            Whether anything is left to do: not if :meth:`finish` was called, and the file is still
            what it was.

        Raises:
            InputError: If the folder cannot be made, is not of this class, is in use, or holds
                masks that were made with something else; if a finished shard is damaged.
        """
        if self.path.is_symlink():
            raise InputError(f'{self.path} is in the way: it is a link, remove it')
        make_folder(self.path)
        path = self.path / _MANIFEST
        names = {entry.name for entry in self.path.iterdir()}
        if _MANIFEST not in names and not all(map(_may_be_first, names)):
            raise InputError(f'{self.path} is in the way: it holds no shards, move it away')
        is_alone = self._enter(shared)
        if is_alone:
            for file in (path, *map(self._file, range(len(self)))):
                remove_asides(file)
        before = self._read_manifest() if os.path.lexists(path) else {}
        changed = [name for name in manifest if before.get(name) != manifest[name]]
        if _RESULT in before and self._is_result(before[_RESULT]):
            if changed:
                raise InputError(
                    f'{self.out} was made with another {" and another ".join(changed)}: delete '
                    f'{self.path} to make it anew'
                )
            self._lock = None
            return False
        done = [shard for shard in range(len(self)) if self.is_done(shard)]
        if changed and (done or not is_alone):
            raise InputError(
                f'{self.path} holds masks of an interrupted run with another '
                f'{" and another ".join(changed)}: go on with what it had, or delete the folder to '
                'start afresh'
            )
        if changed or _RESULT in before:
            write_bytes(json.dumps(manifest, indent=1).encode(), path)
        if shared and is_alone:
            share_lock(self._lock)
        if is_alone:
            for shard in done:
                self._lines(shard)
        return True

    def _enter(self, shared: bool) -> bool:
        """Lock the folder; whether no other call has."""
        try:
            self._lock = lock(self.path / _LOCK, self.path)
            return True
        except Busy:
            if not shared:
                raise
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._lock = lock(self.path / _LOCK, self.path, shared=True)
                return False
            except Busy:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _is_result(self, digest: str) -> bool:
        return self.out.is_file() and file_hash(self.out) == digest

    def is_done(self, shard: int) -> bool:
        """Whether a shard is finished."""
        return os.path.lexists(self._file(shard))

    def take(self, shards: Sequence[int]) -> Iterator[int]:
        """Take shard after shard, for this call among those that share the folder.

        Args:
            shards: Those that were not finished when it was opened.

        Yields:
            A shard that nobody is at work on. They come in an order of this call's own, so that
            few are made twice where there are no locks.
        """
        left, is_new = random.sample(shards, len(shards)), True
        while left and is_new:  # else others are at work on all that is left
            passed, is_new = [], False
            for shard in left:
                if self._take(shard):
                    is_new = True
                    yield shard
                elif not self.is_done(shard):
                    passed.append(shard)
            left = passed

    def _take(self, shard: int) -> bool:
        try:
            file = lock(self._file(shard).with_suffix('.lock'), self.path)
        except Busy:
            return False
        if self.is_done(shard):
            file.close()
            return False
        self._taken[shard] = file
        return True

    def may_join(self) -> bool:
        """Whether all shards are finished, and no other call joins them: from now on, this one."""
        if not all(map(self.is_done, range(len(self)))):
            return False
        try:
            self._joining = lock(self.path / _JOIN, self.path)
        except Busy:
            return False
        return _RESULT not in self._read_manifest()

    def write(self, shard: int, proxies: list[dict], raw: list[dict]) -> None:
        """Write a finished shard.

        Args:
            shard: Its number.
            proxies: The annotations of its images, image after image, with their proxy masks.
            raw: Entries of a COCO results file with the masks before merging.
        """
        lines = [json.dumps(entry).encode() + b'\n' for entry in (*proxies, *raw)]
        write_bytes(b''.join([*lines, _seal(shard, lines)]), self._file(shard))
        if shard in self._taken:
            self._taken.pop(shard).close()

    def proxies(self, shard: int) -> list[bytes]:
        """The JSON texts of a shard's proxy annotations, in the order of the images.

        Raises:
            InputError: If the shard is damaged.
        """
        return self._lines(shard)[: self._num_proxies(shard)]

    def raw(self, shard: int) -> list[bytes]:
        """The JSON texts of a shard's raw masks; raised is what :meth:`proxies` raises."""
        return self._lines(shard)[self._num_proxies(shard) :]

    def summarize(self) -> str:
        """Say in a few words how good the proxy masks are; see :func:`summarize_proxies`."""
        rows = (decode_rows(b'[%b]' % text, ProxyAnnotation) for text in self._proxies())
        return summarize_proxies(chain.from_iterable(rows))

    def join_raw(self, path: str | Path) -> None:
        """Write the COCO results file of all raw masks.

        Raises:
            InputError: If it cannot be written, or a shard is damaged.
        """
        with replacing(path) as file:
            write_list((line for shard in range(len(self)) for line in self.raw(shard)), file)

    def join_proxies(self, path: str | Path) -> None:
        """Write the COCO file with all proxy annotations in the place of its own.

        Raises:
            InputError: If it cannot be written, or a shard is damaged.
        """
        write_coco(self.groups.top, self.groups.in_file_order(self._proxies()), path)

    def finish(self) -> None:
        """Remove the shards, and note that the file is made: who comes late finds nothing to do."""
        manifest = self._read_manifest() | {_RESULT: file_hash(self.out)}
        write_bytes(json.dumps(manifest, indent=1).encode(), self.path / _MANIFEST)
        self._remove_own()
        self._lock = self._joining = None

    def remove(self) -> None:
        """Remove the folder, the manifest last; what is not of this class stays."""
        self._remove_own()
        for name in (_MANIFEST, _JOIN, _LOCK):
            (self.path / name).unlink(missing_ok=True)
        self._lock = None
        with suppress(OSError):
            self.path.rmdir()

    def _remove_own(self) -> None:
        for path in self.path.iterdir():
            if _OWN.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def _proxies(self) -> Iterator[bytes]:
        return (text for shard in range(len(self)) for text in self.proxies(shard))

    def _num_proxies(self, shard: int) -> int:
        images = self.images(shard)
        span = self.groups.span(images.start, images.stop)
        return span.stop - span.start

    def _lines(self, shard: int) -> list[bytes]:
        path = self._file(shard)
        try:
            *lines, seal = _read_own(path).splitlines(keepends=True) or [b'']
        except OSError:
            lines, seal = [], b''
        if seal != _seal(shard, lines) or len(lines) < self._num_proxies(shard):
            raise InputError(
                f'{path} is damaged: delete this file and call again, its {SHARD_IMAGES} images '
                'get their masks anew'
            )
        return [line[:-1] for line in lines]

    def _read_manifest(self) -> dict[str, str]:
        path = self.path / _MANIFEST
        try:
            manifest = json.loads(_read_own(path))
            if isinstance(manifest, dict):
                return manifest
        except (OSError, ValueError, RecursionError):
            pass
        raise InputError(f'{path} cannot be read: delete the folder to start afresh')

    def _file(self, shard: int) -> Path:
        return self.path / f'{shard:06d}.jsonl'


def _may_be_first(name: str) -> bool:
    """Whether a run that was killed may have left this before its manifest was there."""
    return name == _LOCK or (name.startswith(f'{_MANIFEST}.') and name.endswith('.tmp'))


def _read_own(path: Path) -> bytes:
    """Read a file, but no link, and nothing that never ends."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise OSError('no regular file')
    return path.read_bytes()


def _seal(shard: int, lines: list[bytes]) -> bytes:
    """The last line of a shard, by which it is known to be whole and itself."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return f'{shard} {len(lines)} {digest.hexdigest()}\n'.encode()


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def text_hash(texts: Iterable[str]) -> str:
    """SHA-256 of texts, one after the other."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b'\0')
    return digest.hexdigest()
