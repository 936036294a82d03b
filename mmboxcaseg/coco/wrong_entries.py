"""Entries of a file of boxes that are wrong: the first one is refused, or all are left out."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmboxcaseg.errors import InputError, shown
from mmboxcaseg.fileio import write_json

# Sentences that are shown of those that the list has.
_SHOWN = 3

#: The reason of annotations that are right themselves.
OF_IMAGE = 'annotations of images that are left out'


class WrongEntries:
    """What is done with an entry that a check finds wrong.

    A check raises the InputError that says what is wrong, once, within :meth:`noting`; whoever
    calls the check decides whether that ends it.

    Args:
        skip: Whether wrong entries are left out and noted; by default the first is raised.

    Attributes:
        skip: As given.
        found: For each entry that is left out, what it is, the reason and the sentence.
        image_ids: Of images that are left out.

    Example:
        >>> wrong = WrongEntries(skip=True)
        >>> with wrong.noting('boxes outside their images', dict(annotation=7)):
        ...     raise InputError('annotation 7 of a.json has its box outside')
        >>> wrong.reasons
        '1 boxes outside their images'
    """

    def __init__(self, skip: bool = False) -> None:
        self.skip = skip
        self.found: list[dict[str, Any]] = []
        self.image_ids: set[int | str] = set()
        self._rows: dict[int, Any] = {}

    @contextmanager
    def noting(self, reason: str, entry: dict[str, Any], row: Any = None) -> Iterator[None]:
        """Check an entry.

        Args:
            reason: What such entries are counted as.
            entry: What the list says of it: ``image`` or ``annotation``, its id, or where it is.
            row: The entry itself, for :meth:`has`.

        Raises:
            InputError: What the check raises, unless wrong entries are left out.
        """
        try:
            yield
        except InputError as error:
            if not self.skip:
                raise
            self.found.append(entry | dict(reason=reason, sentence=str(error)))
            # Known by identity, so it must stay: ids may be there twice.
            self._rows[id(row)] = row
            if isinstance(entry.get('image'), int | str):
                self.image_ids.add(entry['image'])

    def has(self, row: Any) -> bool:
        """Whether an entry was found wrong."""
        return id(row) in self._rows

    @property
    def counts(self) -> Counter[str]:
        """How many entries are left out for each reason."""
        return Counter(entry['reason'] for entry in self.found)

    @property
    def reasons(self) -> str:
        """The same in words."""
        return ', '.join(f'{count} {reason}' for reason, count in self.counts.items())

    def tell(self, source: str | Path, path: str | Path) -> None:
        """Write the list of what is left out, and say how many there are and what the first are.

        Args:
            source: The file of the boxes.
            path: The list to write, JSON; it is empty where nothing is wrong.

        Raises:
            InputError: If it cannot be written.
        """
        write_json(self.found, path)
        if not self.found:
            return
        own = [entry['sentence'] for entry in self.found if entry['reason'] != OF_IMAGE]
        lines = [f'{len(self.found)} wrong entries of {source} are left out ({self.reasons}):']
        lines += [f'  {sentence}' for sentence in own[:_SHOWN]]
        lines.append(f'  {path} lists all of them')
        print_log('\n'.join(map(shown, lines)), 'current', logging.WARNING)


#: Refuses the first.
REFUSE = WrongEntries()
