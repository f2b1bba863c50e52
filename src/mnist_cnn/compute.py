"""How this process computes: device, threads, kernels. What makes a result the same every time."""

import os
import re
import sys
import tempfile
from functools import cache
from typing import Any

from mnist_cnn.arithmetic import VARIABLE, Arithmetic, cpu, current, is_supported
from mnist_cnn.errors import UserError

import numpy as np
import torch
from threadpoolctl import threadpool_info

PORTABLE_KERNELS = {
    "PyTorch": "AVX2",
    "oneDNN": "avx2",
    "MKL": "COMPATIBLE",
    "NumPy": "baseline",
    "OpenBLAS": "Haswell",
}


def device() -> torch.device:
    """CUDA where there is any, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def configure(threads: int, arithmetic: Arithmetic | None = None) -> torch.device:
    """Make this process compute the same bytes every time, and return the device to compute on.

    Args:
        threads: of PyTorch. They decide the order in which a sum is taken, and so its last bits.
        arithmetic: the one that the result asks for; by default, that of this process.

    Raises `UserError` if a library does not use the kernels of that arithmetic.
    """
    torch.set_num_threads(threads)
    # Without it, cuBLAS may add up in any order, and PyTorch refuses to call it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # As `use_deterministic_algorithms(True)`, which would first import the compiler for a second.
    torch.set_deterministic_debug_mode("error")
    # It also fills every new tensor, to show a program that reads one before it writes it. That
    # takes an eighth of the time of training.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    _check(arithmetic or current())
    return device()


def _check(arithmetic: Arithmetic) -> None:
    if arithmetic != current():
        raise UserError(
            f"this process began with {current()} arithmetic; for {arithmetic}, start it with "
            f"{VARIABLE}={arithmetic}"
        )
    if arithmetic == "native" or not is_supported():
        return
    for library, used in kernels().items():
        if used != PORTABLE_KERNELS[library]:
            raise UserError(
                f"{library} computes with {used}, and portable arithmetic needs "
                f"{PORTABLE_KERNELS[library]}; import mnist_cnn before {library}"
            )


@cache
def kernels() -> dict[str, str]:
    """Which kernels each library uses in this process, by the name of the library."""
    log = _log_of_kernels()
    blas = [pool for pool in threadpool_info() if pool["internal_api"] == "openblas"]
    return {
        "PyTorch": torch.backends.cpu.get_cpu_capability(),
        "oneDNN": _find(r",convolution,\w+:(\w+),", log),
        "MKL": _find(r"CNR:(\w+)", log),
        "NumPy": " ".join(np.show_config("dicts")["SIMD Extensions"].get("found", ["baseline"])),
        "OpenBLAS": " ".join(sorted({pool["architecture"] for pool in blas})),
    }


def _log_of_kernels() -> str:
    """What oneDNN and MKL log of a convolution and a matrix product: nothing else names a kernel.

    They write to the standard output of the process, below Python's.
    """
    sys.stdout.flush()
    with tempfile.TemporaryFile() as file:
        stdout = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
                torch.conv2d(torch.ones(32, 1, 8, 8), torch.ones(8, 1, 3, 3))
            with torch.backends.mkl.verbose(torch.backends.mkl.VERBOSE_ON):
                torch.mm(torch.ones(64, 64), torch.ones(64, 64))
        finally:
            os.dup2(stdout, 1)
            os.close(stdout)
        file.seek(0)
        return file.read().decode()


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else "unknown kernels"


def machine() -> dict[str, Any]:
    """The hardware, and what each library uses of it: without portable arithmetic, it decides."""
    return {
        "cpu": cpu(),
        "kernels": kernels(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
