"""How a script speaks with a person: lines, progress bars, and mistakes in one line."""

import errno
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from tqdm import tqdm

from mnist_cnn.errors import UserError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def say(line: str) -> None:
    """Print a line, above the progress bars where there are any, at once."""
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


def progress(total: int, what: str, unit: str) -> "tqdm[Any]":
    """A progress bar on a terminal; nothing where output goes to a file."""
    return tqdm(total=total, desc=what, unit=unit, disable=None, dynamic_ncols=True)


def run(main: Callable[[], None]) -> NoReturn:
    """Run a script: what a person can mend ends it with one line on standard error and status 1.

    SIGTERM and SIGHUP, unless they are ignored as under `nohup`, are taken as Ctrl-C is: all raise
    `KeyboardInterrupt`, so that what is open is closed.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        sys.exit(f"error: {error}; make room and run the same command again to go on")
    except KeyboardInterrupt:
        sys.exit("interrupted; run the same command again to go on")
    sys.exit(0)
