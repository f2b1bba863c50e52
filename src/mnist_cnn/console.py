"""How a script speaks with a person: lines, progress bars, and mistakes without a traceback.

It has no colours, so that there are none to be turned off.
"""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from mnist_cnn.errors import UserError

from tqdm import tqdm

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


_NO = {"", "0", "no", "false"}

# Of the whole process, as its streams are.
_silent = False


def options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line of a stage. With `--quiet`, only what needs attention is shown then.

    DVC calls stages without arguments; `QUIET=1 dvc repro` does the same.
    """
    global _silent  # noqa: PLW0603
    parser.add_argument(
        "--quiet",
        action="store_true",
        default=os.environ.get("QUIET", "0") not in _NO,
        help="show only what needs attention (default: whether $QUIET is set, and not 0)",
    )
    found = parser.parse_args()
    _silent = found.quiet
    return found


def say(line: str, *, always: bool = False) -> None:
    """Print a line, above the progress bars where there are any, at once.

    Args:
        line: without its end.
        always: also with `--quiet`, as what needs attention.
    """
    if _silent and not always:
        return
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


def progress(total: int | None, what: str, unit: str, **looks: Any) -> "tqdm[Any]":
    """A progress bar on a terminal, with the time left; nothing where output goes to a file.

    `looks` are further arguments of tqdm's.
    """
    hidden = True if _silent else None  # `None` is for tqdm to look at the stream
    return tqdm(total=total, desc=what, unit=unit, disable=hidden, dynamic_ncols=True, **looks)


def run(main: Callable[[], None]) -> NoReturn:
    """Run a script: what a person can mend ends it with a message on standard error and status 1.

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
