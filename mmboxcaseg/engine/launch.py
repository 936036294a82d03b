"""torchrun, without its own traceback below that of the process that failed."""

from __future__ import annotations

import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run


def main() -> None:
    """Run ``python -m mmboxcaseg.engine.launch`` with torchrun's arguments.

    Raises:
        SystemExit: With the code of the first process that failed, or 128 plus the signal that
            ended it.
    """
    try:
        run(parse_args(sys.argv[1:]))
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        raise SystemExit(code if code > 0 else 128 - code) from None
    except SignalException as error:
        raise SystemExit(128 + error.sigval) from None


if __name__ == '__main__':
    main()
