"""What numbers are computed on, and how, so that they come out the same every time."""

import os
import platform
from pathlib import Path
from typing import Any

import torch


def device() -> torch.device:
    """CUDA where there is any, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def configure(threads: int) -> torch.device:
    """Make this process compute the same bytes every time; return the device to compute on.

    The number of threads decides in which order a sum is taken, so it is part of what determines
    a result.
    """
    torch.set_num_threads(threads)
    # Without it, cuBLAS may add up in any order, and PyTorch refuses to call it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # As `use_deterministic_algorithms(True)`, which would first import the compiler for a second.
    torch.set_deterministic_debug_mode("error")
    return device()


def machine() -> dict[str, Any]:
    """What decides how sums are rounded: the CPU, its instructions that PyTorch uses, a GPU."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
