"""Portable arithmetic: the same bytes on every x86-64 CPU that has AVX2 and FMA.

PyTorch, oneDNN, MKL, NumPy and OpenBLAS choose their kernels by the CPU, and different kernels
round differently. Environment variables fix the choice, but only before the libraries load, so
importing this project sets them. `compute.configure` checks what the libraries really use.
"""

import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Literal, cast

Arithmetic = Literal["portable", "native"]
"""`native` means the fastest kernels for the CPU; their results differ between CPUs."""

VARIABLE = "MNIST_CNN_ARITHMETIC"
"""The environment variable from which a process and its children take their arithmetic."""

_THREADS = {
    "OPENBLAS_NUM_THREADS": "1",  # instead of one for each core
    # Both could give OpenMP fewer threads than a parameter asks for.
    "OMP_DYNAMIC": None,
    "OMP_THREAD_LIMIT": None,
}
_PORTABLE = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",  # in any other mode, MKL has other kernels on AMD than on Intel
    "NPY_ENABLE_CPU_FEATURES": "X86_V2",  # NumPy's baseline
    "NPY_DISABLE_CPU_FEATURES": None,  # NumPy accepts only one of the two
    "OPENBLAS_CORETYPE": "Haswell",
}


def prepare() -> None:
    """Set the environment variables that fix the arithmetic of this process and its children.

    Call it before NumPy and PyTorch load.
    """
    for name, value in (_THREADS | (_PORTABLE if is_portable() else {})).items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def restart_with(arithmetic: Arithmetic) -> None:
    """Restart this script with the given arithmetic, unless it began with it.

    Warns if the CPU cannot do portable arithmetic.
    """
    if arithmetic != current():
        environment = environment_without_arithmetic() | {VARIABLE: arithmetic}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606
    if arithmetic == "portable" and not is_supported():
        from mnist_cnn import console  # noqa: PLC0415 - a node of a cluster may lack `tqdm`

        console.warn(
            f"{cpu()}: not an x86-64 CPU with AVX2 and FMA, so results may differ from those of "
            "other CPUs"
        )


def current() -> Arithmetic:
    """The arithmetic that this process began with."""
    return cast(Arithmetic, os.environ.get(VARIABLE, "portable"))


def is_portable() -> bool:
    """Whether this process computes the same as any other with portable arithmetic."""
    return current() == "portable" and is_supported()


def is_supported() -> bool:
    """Whether the CPU can do portable arithmetic: x86-64 under Linux, with AVX2 and FMA."""
    return platform.machine() == "x86_64" and {"avx2", "fma"} <= cpu_flags()


def environment_without_arithmetic() -> dict[str, str]:
    """The environment variables of this process except those that fix its arithmetic."""
    fixed = {VARIABLE, *_THREADS, *_PORTABLE}
    return {name: value for name, value in os.environ.items() if name not in fixed}


def cpu() -> str:
    """The name of the CPU."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_flags() -> set[str]:
    """The features of the CPU, such as `avx2`, as Linux lists them; empty on another system."""
    return set(_cpuinfo("flags").split())


@cache
def _cpuinfo(key: str) -> str:
    """A value of the first CPU in Linux's `/proc/cpuinfo`; empty if there is none."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith(f"{key}\t")), "")
