"""What a user is told when something that they gave is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable


class InputError(ValueError):
    """A file, folder, config or checkpoint that the user gave cannot be used.

    The message is one sentence: it names the file, id or key, and says what to do.
    """


def run_tool(main: Callable[[], None]) -> None:
    """Run a command line tool; end in one sentence, not a traceback, on :class:`InputError`.

    Args:
        main: The tool.

    Raises:
        SystemExit: With code 2 after an :class:`InputError`.
    """
    try:
        main()
    except InputError as error:
        print(f'error: {_sentence(error)}', file=sys.stderr)
        raise SystemExit(2) from None


def _sentence(error: InputError) -> str:
    # A DataLoader worker's exception comes back as the same type with the worker's whole
    # traceback as its message; the sentence is what follows the type's name on its last lines.
    text = str(error).strip()
    return text.rsplit('InputError: ', 1)[-1].strip()
