"""Command line and console: options, messages, progress bars, and errors without a traceback."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from mnist_cnn.errors import UserError

from tqdm import tqdm

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FALSE = {"", "0", "no", "false"}
_INTERRUPTED = "interrupted; run the same command to continue"

# Belongs to the process, as standard output does.
_quiet = False


def parse_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line of a stage, with the option `--quiet` added to it.

    DVC runs stages without options, so the environment variable `QUIET=1` does the same.
    """
    global _quiet  # noqa: PLW0603
    parser.add_argument(
        "--quiet",
        action="store_true",
        default=os.environ.get("QUIET", "0") not in _FALSE,
        help="print warnings and errors only (default: $QUIET)",
    )
    options = parser.parse_args()
    _quiet = options.quiet
    return options


def write(line: str) -> None:
    """Print a line above any progress bars, unless `--quiet` is given."""
    if not _quiet:
        warn(line)


def warn(line: str) -> None:
    """Print a line above any progress bars."""
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


def progress_bar(total: int | None, description: str, unit: str, **options: Any) -> "tqdm[Any]":
    """A progress bar on a terminal; nothing where output goes to a file or `--quiet` is given."""
    disable = True if _quiet else None  # None disables it unless the output is a terminal
    return tqdm(
        total=total, desc=description, unit=unit, disable=disable, dynamic_ncols=True, **options
    )


def run(main: Callable[[], None]) -> NoReturn:
    """Run a script. A `UserError` becomes a message on standard error and exit status 1.

    SIGTERM and SIGHUP raise `KeyboardInterrupt` as Ctrl-C does, so that resources are released;
    not if they are ignored, as under `nohup`.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    # `src/evaluate.py` must not shadow the library `evaluate`, which MLflow imports.
    scripts = str(Path(sys.argv[0]).resolve().parent)
    sys.path = [path for path in sys.path if path != scripts]
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        sys.exit(f"error: {error}; free some space and run the same command to continue")
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    sys.exit(0)


def _report(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Print one line for Ctrl-C, and a traceback for everything else."""
    if issubclass(kind, KeyboardInterrupt):
        print(_INTERRUPTED, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


# Scripts import this module first: Ctrl-C comes before `run` while they import large libraries.
sys.excepthook = _report
