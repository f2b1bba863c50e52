"""What numbers are computed on, and how, so that they come out the same every time."""

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
    # As `use_deterministic_algorithms(True)`, which would first import the compiler for a second.
    torch.set_deterministic_debug_mode("error")
    return device()
