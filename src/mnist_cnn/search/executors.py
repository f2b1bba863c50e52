"""Processes that run trials on this machine. They never outlive the process that started them."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import mnist_cnn
from mnist_cnn.errors import UserError

import torch
from joblib import cpu_count
from torch import multiprocessing

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

T = TypeVar("T")

_FOLDER = str(Path(mnist_cnn.__file__).parents[1])


# An estimate of what a process needs of a GPU, with what CUDA itself takes. Not measured yet.
_GPU_MEMORY = 2**30


def gpus(device: torch.device) -> int:
    """How many GPUs trials on this device can use; 0 for a CPU.

    Raises `UserError` if they are of several models, which compute other bytes.
    """
    if device.type != "cuda":
        return 0
    count = torch.cuda.device_count()
    models = {torch.cuda.get_device_name(gpu) for gpu in range(count)}
    if len(models) > 1:
        raise UserError(
            f"GPUs of several models ({', '.join(sorted(models))}) compute other bytes; name those "
            "of one model in CUDA_VISIBLE_DEVICES"
        )
    return count


def default_size(threads: int, device: torch.device) -> int:
    """How many processes this machine has cores, and GPUs memory, for; 1 or more.

    Args:
        threads: of each process.
        device: of each process.
    """
    cores: int = cpu_count()  # respects the limits of a container
    room = [torch.cuda.mem_get_info(gpu)[0] // _GPU_MEMORY for gpu in range(gpus(device))]
    return max(1, min(cores // threads, sum(room))) if room else max(1, cores // threads)


@contextmanager
def process_pool(size: int, gpus: int = 0) -> Iterator[Executor]:
    """An executor with `size` processes, each of which uses one of so many GPUs.

    If a process dies, for example because memory runs out, all running tasks raise
    `BrokenProcessPool`; tasks submitted later run in new processes. If the block raises, the
    processes are terminated at once. Processes do not import the script, so tasks must be functions
    of modules.
    """
    with _RestartingPool(size, gpus) as executor:
        try:
            yield executor
        except BaseException:
            _ignore_ended_workers()
            executor.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
                process.join()
            raise


def _ignore_ended_workers() -> None:
    """Have the thread that shares memory print nothing if a process ends that waits for it."""
    default = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main or not issubclass(kind, (ConnectionError, EOFError)):
            default(kind, error, trace)

    sys.excepthook = hook


class _RestartingPool(Executor):
    """A process pool that is replaced when it breaks."""

    def __init__(self, size: int, gpus: int) -> None:
        self._size, self._gpus = size, gpus
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")  # a fork would inherit PyTorch's threads
        started = context.Value("i", 0)
        return ProcessPoolExecutor(self._size, context, _prepare_worker, (started, self._gpus))

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        with _only_this_package():
            try:
                return self._pool.submit(function, *args, **kwargs)
            except BrokenProcessPool:
                self._pool = self._start()
                return self._pool.submit(function, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


@contextmanager
def _only_this_package() -> Iterator[None]:
    """Have a process that starts now import this package, and not the script.

    It receives `sys.path`, from which a script has removed its folder. Without that, it would find
    the package that is installed in the environment: in a worktree or in the copy for an
    experiment, that of another clone. It would also run the file of `__main__`, which imports for
    seconds what only the script needs.
    """
    script = vars(sys.modules["__main__"])
    file = script.pop("__file__", None)
    sys.path.insert(0, _FOLDER)
    try:
        yield
    finally:
        sys.path.remove(_FOLDER)
        if file:
            script["__file__"] = file


def _prepare_worker(started: "Synchronized[int]", gpus: int) -> None:
    sys.path.remove(_FOLDER)
    with started.get_lock():
        number, started.value = started.value, started.value + 1
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number % gpus]
    # A terminal sends Ctrl-C to every process; the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """End this process when its parent ends, even by SIGKILL."""
    if parent := multiprocessing.parent_process():
        wait([parent.sentinel])
    os._exit(1)
