"""The peak memory of a command and all its processes.

    python benchmarks/memory.py dvc repro --force

It is the sum of their proportional set sizes, so pages that processes share count once. Linux only.
"""

import argparse
import sys
import time
from contextlib import suppress

import psutil


def memory(process: psutil.Process) -> int:
    """Bytes that a process and its descendants use now."""
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
            peak = max(peak, memory(process))
        time.sleep(0.25)
    print(f"{peak / 1e6:,.0f} MB at most")
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
