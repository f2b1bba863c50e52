"""The largest memory that a command and all its processes hold together.

    python benchmarks/memory.py dvc repro --force

Pages that several processes share, as libraries and the images of a search are, count once: it is
the sum of their proportional set sizes. Linux only.
"""

import argparse
import sys
import time
from contextlib import suppress

import psutil


def held(process: psutil.Process) -> int:
    """Bytes that a process and its descendants hold now."""
    total = 0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += each.memory_full_info().pss
    return total


def main() -> None:
    """Run the command and print the peak, sampled four times a second."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", nargs=argparse.REMAINDER)
    process = psutil.Popen(parser.parse_args().command)
    peak = 0
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            peak = max(peak, held(process))
        time.sleep(0.25)
    print(f"{peak / 1e6:,.0f} MB at most")
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
