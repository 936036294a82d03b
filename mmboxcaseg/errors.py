"""What a user is told when something that they gave is wrong."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from types import FrameType
from typing import Any, NoReturn

# What mmcv's loaders assert of an image that cannot be decoded.
_BROKEN_IMAGE = 'failed to load image: '


class InputError(ValueError):
    """A file, folder, config or checkpoint that the user gave cannot be used.

    The message is one sentence: it names the file, id or key, and says what to do.
    """


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
    """Join names for a message; of many only the first few."""
    names = list(names)
    more = f' and {len(names) - count} more' if len(names) > count else ''
    return ', '.join(names[:count]) + more


def run_tool(main: Callable[[], None]) -> None:
    """Run a command line tool; end in one sentence, not a traceback, on :class:`InputError`.

    An image that mmcv cannot decode ends the same way. With ``MMBOXCASEG_DEBUG=1`` in the
    environment the traceback comes before the sentence.

    Args:
        main: The tool.

    Raises:
        SystemExit: With code 2 after such an error, and with 143 after SIGTERM and 130 after
            Ctrl-C, when what the tool has started has been ended.
    """
    before = signal.signal(signal.SIGTERM, _end)
    try:
        main()
    except (InputError, AssertionError) as error:
        if isinstance(error, AssertionError) and _BROKEN_IMAGE not in str(error):
            raise
        if os.environ.get('MMBOXCASEG_DEBUG') == '1':
            traceback.print_exc()
        print(f'error: {_sentence(error)}', file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    # Python alone ends at once, without the clean-up that stops the processes of the tool.
    raise SystemExit(128 + number)


def _sentence(error: InputError | AssertionError) -> str:
    # A DataLoader worker's exception comes back as the same type with the worker's whole
    # traceback as its message; the sentence is what follows the type's name on its last lines.
    text = str(error).strip()
    if isinstance(error, AssertionError):
        path = text.rsplit(_BROKEN_IMAGE, 1)[-1]
        return f'{path} cannot be decoded: replace it or remove it from the set'
    return text.rsplit('InputError: ', 1)[-1].strip()
