"""How a process computes: its device, its threads, and the kernels of its libraries."""

import os
import re
import sys
import tempfile
from functools import cache
from typing import Any, Literal

from mnist_cnn.errors import UserError
from mnist_cnn.learning.arithmetic import VARIABLE, Arithmetic, cpu, current, is_portable

import numpy as np
import torch
from threadpoolctl import threadpool_info

Device = Literal["cpu", "cuda", "auto"]

PORTABLE_KERNELS = {
    "PyTorch": "AVX2",
    "oneDNN": "avx2",
    "MKL": "COMPATIBLE",
    "NumPy": "baseline",
    "OpenBLAS": "Haswell",
}


def device(choice: Device) -> torch.device:
    """The device to compute on; for `auto`, a GPU if there is one.

    Raises `UserError` for `cuda` if PyTorch finds no GPU.
    """
    if choice == "cuda" and not torch.cuda.is_available():
        raise UserError("compute.device: cuda, but PyTorch finds no GPU; set it to cpu")
    return torch.device("cuda" if choice != "cpu" and torch.cuda.is_available() else "cpu")


def configure(threads: int, arithmetic: Arithmetic | None = None) -> None:
    """Make this process compute the same bytes every time.

    Args:
        threads: of PyTorch. They decide the order in which numbers are summed.
        arithmetic: the one to check for; by default, that of this process.

    Raises `UserError` if a library does not use the kernels of that arithmetic.
    """
    torch.set_num_threads(threads)
    # PyTorch refuses to call cuBLAS without it, because cuBLAS could then sum in any order.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # `use_deterministic_algorithms(True)` does the same, but imports the compiler for a second.
    torch.set_deterministic_debug_mode("error")
    # Deterministic mode also fills every new tensor with NaN, to expose reads of uninitialised
    # memory. That takes an eighth of the training time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # Else convolutions of float32 on a GPU have the precision of TensorFloat-32.
    torch.backends.cudnn.allow_tf32 = False
    _check(arithmetic or current())


def _check(arithmetic: Arithmetic) -> None:
    if arithmetic != current():
        raise UserError(
            f"this process began with {current()} arithmetic; for {arithmetic}, start it with "
            f"{VARIABLE}={arithmetic}"
        )
    if not is_portable():
        return
    for library, used in kernels().items():
        if used != PORTABLE_KERNELS[library]:
            raise UserError(
                f"{library} uses {used} kernels, but portable arithmetic needs "
                f"{PORTABLE_KERNELS[library]}; import mnist_cnn before {library}"
            )


@cache
def kernels() -> dict[str, str]:
    """The kernels that each library uses in this process, by the name of the library."""
    log = _kernel_log()
    blas = [pool for pool in threadpool_info() if pool["internal_api"] == "openblas"]
    return {
        "PyTorch": torch.backends.cpu.get_cpu_capability(),
        "oneDNN": _find(r",convolution,\w+:(\w+),", log),
        "MKL": _find(r"CNR:(\w+)", log),
        "NumPy": " ".join(np.show_config("dicts")["SIMD Extensions"].get("found", ["baseline"])),
        "OpenBLAS": " ".join(sorted({pool["architecture"] for pool in blas})),
    }


def _kernel_log() -> str:
    """What oneDNN and MKL log about a convolution and a matrix product.

    Only their logs name the kernels, and they write them to the standard output of the process.
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
    return found[1] if found else "unknown"


def machine() -> dict[str, Any]:
    """The hardware, and the kernels that the libraries use on it."""
    return {
        "cpu": cpu(),
        "kernels": kernels(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
