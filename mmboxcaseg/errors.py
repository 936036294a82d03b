"""What a user is told when something that they gave is wrong."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import cache
from numbers import Integral, Real
from types import FrameType
from typing import Any, NoReturn

# What mmcv's loaders assert of an image that cannot be decoded.
_BROKEN_IMAGE = 'failed to load image: '
# What a DataLoader puts around an exception of one of its workers, with the worker's traceback.
_OF_WORKER = re.compile(r'Caught InputError in .* worker process \d+\.\nOriginal Traceback ')
# What a DataLoader says of workers that ended without one.
_LOST_WORKER = re.compile(r'DataLoader worker \(pid\(?s?\)? [\d, ]+\) (.*)', re.DOTALL)
# What torch's ways of talking between processes, gloo and NCCL, say when one of them is gone.
_LOST_PROCESS = re.compile(r'gloo|NCCL|Connection (closed|reset) by peer')
# What no code can mend: a disk that is full, over its quota, read-only or broken.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)
# Characters of a sentence; names of thousands of characters hide what it says.
_LONGEST = 1500


class InputError(ValueError):
    """A file, folder, config or checkpoint that the user gave cannot be used.

    The message is one sentence: it names the file, id or key, and says what to do. What it quotes
    may be hostile, so it is kept as :func:`shown` gives it.
    """

    def __init__(self, message: str) -> None:
        if _OF_WORKER.match(message):
            message = message.rsplit('InputError: ', 1)[-1].strip()
        super().__init__(shown(message))


def shown(text: object, longest: int = _LONGEST) -> str:
    r"""Write text that comes from data so that a terminal or a log can do nothing but show it.

    Args:
        text: Any; what is not text is turned into it.
        longest: Characters of the result, more or less: the middle of a longer one is left out.

    Returns:
        The text, in which control characters, line ends, signs that cannot be seen and halves of
        characters are written as Python writes them in a string.

    Example:
        >>> shown('café\x1b[2J\nerror: forged')
        'café\\x1b[2J\\nerror: forged'
        >>> shown('a' * 5000, longest=20)
        'aaaaaaaaaa[4980 more]aaaaaaaaaa'
    """
    text = str(text)
    if len(text) > longest:
        half = longest // 2
        text = f'{text[:half]}[{len(text) - 2 * half} more]{text[-half:]}'
    if text.isprintable():
        return text
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)


def check_share(name: str, value: Any) -> None:
    """Check a setting that is a weight, a probability, a threshold or an IoU.

    Args:
        name: The setting, for the message.
        value: What was given.

    Raises:
        InputError: If it is not a number in [0, 1].
    """
    if not isinstance(value, Real) or not 0 <= value <= 1:
        raise InputError(f'{name} must be in [0, 1], not {value!r}')


def check_count(name: str, value: Any) -> None:
    """Check a setting that is a number of things.

    Args:
        name: The setting, for the message.
        value: What was given.

    Raises:
        InputError: If it is not a whole number of at least 1.
    """
    if not isinstance(value, Integral) or value < 1:
        raise InputError(f'{name} must be a whole number of at least 1, not {value!r}')


def listing(names: Iterable[str], count: int = 8) -> str:
    """Join names for a message, each as :func:`shown` gives it; of many only the first few."""
    names = list(names)
    more = f' and {len(names) - count} more' if len(names) > count else ''
    return ', '.join(shown(name, 100) for name in names[:count]) + more


@cache
def warn_once(sentence: str) -> None:
    """Log a warning; of equal ones the first."""
    from mmengine.logging import print_log

    print_log(shown(sentence), 'current', logging.WARNING)


def run_tool(main: Callable[[], None], goes_on: str = '') -> None:
    """Run a command line tool; end in one sentence, not a traceback, on :class:`InputError`.

    An image that mmcv cannot decode ends the same way, and so does what happens to a run from
    outside: a disk that is full, memory that runs out, a worker that is killed. With
    ``MMBOXCASEG_DEBUG=1`` in the environment the traceback comes before the sentence.

    Args:
        main: The tool.
        goes_on: How to go on after Ctrl-C, to be said then.

    Raises:
        SystemExit: With code 2 after such an error, and with 143 after SIGTERM and 130 after
            Ctrl-C, when what the tool has started has been ended.
    """
    before = signal.signal(signal.SIGTERM, _end)
    try:
        main()
    except KeyboardInterrupt:
        print('interrupted' + f': {goes_on}' * bool(goes_on), file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        if os.environ.get('MMBOXCASEG_DEBUG') == '1':
            traceback.print_exc()
        print(f'error: {sentence}', file=sys.stderr)
        raise SystemExit(2) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    # Python alone ends at once, without the clean-up that stops the processes of the tool. Whoever
    # asks twice does not interrupt that.
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _sentence(error: Exception) -> str | None:
    """What is wrong; None where only the traceback tells."""
    text = str(error).strip()
    if isinstance(error, InputError):
        return text
    if isinstance(error, AssertionError) and _BROKEN_IMAGE in text:
        path = shown(text.rsplit(_BROKEN_IMAGE, 1)[-1])
        return f'{path} cannot be decoded: replace it or remove it from the set'
    if isinstance(error, RuntimeError) and (lost := _LOST_WORKER.match(text)):
        why = shown(lost[1].split('.')[0])
        return (
            f'a process that loads data {why}: if memory ran out, give the loaders fewer '
            'num_workers; call again, what is finished is kept'
        )
    if isinstance(error, RuntimeError) and _LOST_PROCESS.search(text):
        return (
            'another process of the run has ended or cannot be reached: see what it said; call '
            'again, what is finished is kept'
        )
    if isinstance(error, MemoryError):
        return f'memory ran out{text and f" ({shown(text)})"}: give smaller parts or fewer workers'
    if isinstance(error, RecursionError):
        return f'a file is nested too deep to be read ({shown(text)})'
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f'no file can be named {shown(error.filename)}: give a shorter name'
    if isinstance(error, OSError) and error.errno in _DISK:
        file = f' {shown(error.filename)}' if error.filename else ''
        return (
            f'cannot write{file}: {error.strerror}; make room and call again, what is finished is '
            'kept'
        )
    return None
