"""Runs trials on a Ray cluster. Where a trial runs, and how often, changes only the time."""

import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import mnist_cnn
from mnist_cnn import console
from mnist_cnn.errors import UserError
from mnist_cnn.files import write_bytes
from mnist_cnn.learning import arithmetic
from mnist_cnn.learning.training import Epoch
from mnist_cnn.search import executors
from mnist_cnn.search.trial import ObjectiveFunction, Task, Trial

import ray
import torch
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)

Machine = Callable[[torch.device], Mapping[str, str]]
"""Describes what the calling process has to compute with on a device. Processes with the same
description compute the same results."""


@contextmanager
def connect(
    workers: int | None, threads: int, device: torch.device, machine: Machine
) -> Iterator["Cluster"]:
    """The cluster at `$RAY_ADDRESS`; if that is not set, a Ray that runs on this machine only.

    The code of this package and its arithmetic travel to the nodes. Their libraries do not.

    Args:
        workers: how many trials run at once at most; by default as many as there are cores for.
        threads: of each trial, for which it gets as many cores.
        device: of each trial, which gets a whole GPU if it is one.
        machine: a node is used only if it gives the same there as here.

    Raises `UserError` if the cluster does not answer.
    """
    address = os.environ.get("RAY_ADDRESS")
    cores = threads * (workers or executors.default_size(threads, device))
    here: dict[str, Any] = {"address": "local", "num_cpus": cores, "include_dashboard": False}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        if address:
            _check_answer(address)
        ray.init(
            **({} if address else here),
            runtime_env={
                "py_modules": [str(Path(mnist_cnn.__file__).parent)],
                "excludes": ["__pycache__"],
                "env_vars": _environment(device),
            },
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except (RayError, RuntimeError, OSError, ValueError) as error:
        cause = str(error).strip().splitlines()[0]
        raise UserError(f"Ray at {address or 'this machine'}: {cause}") from error
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray replaces it
    cluster = Cluster(workers, threads, device, machine)
    if not _nodes(threads):
        console.warn(f"no node of the Ray cluster has room for a trial (CPUs: {threads}); waiting")
    try:
        yield cluster
    finally:
        cluster.close()
        ray.shutdown()


def _check_answer(address: str) -> None:
    """Raise `OSError` if nothing listens at an address, which takes Ray minutes to find out."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), timeout=10).close()


def _nodes(cores: int) -> set[str]:
    """The ids of the nodes of the cluster that have so many cores."""
    return {
        node["NodeID"]
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) >= cores
    }


def _environment(device: torch.device) -> dict[str, str]:
    """The environment variables that fix the arithmetic, and the device, of a worker."""
    own = dict(os.environ.items() - arithmetic.environment_without_arithmetic().items())
    return own if device.type == "cuda" else own | {"CUDA_VISIBLE_DEVICES": ""}


class Cluster:
    """An executor for trials, which survives the loss of any node but that of this process.

    A thread follows each trial. It writes each checkpoint that the trial sends to this machine, and
    sends it along when the trial has to run again elsewhere.
    """

    def __init__(
        self, workers: int | None, threads: int, device: torch.device, machine: Machine
    ) -> None:
        self._threads = ThreadPoolExecutor(workers or 1000)  # by default Ray sets the limit
        self._cores, self._device = threads, device
        self._machine, self._expected = machine, dict(machine(device))
        self._objectives: dict[ObjectiveFunction, _Shared] = {}
        self._refused: set[str] = set()
        self._running: set[ray.ObjectRefGenerator[bytes | Trial | _Refusal]] = set()
        self._closed = False
        self._lock = threading.Lock()

    def submit(self, task: Task, /) -> Future[Trial]:
        """Run a task as soon as there is room for it.

        The future raises what the task raises, `BrokenExecutor` if its process died, and
        `UserError` if no node can run it.
        """
        if task.objective not in self._objectives:
            self._objectives[task.objective] = _Shared(ray.put(task.objective))
        return self._threads.submit(self._run, task)

    def close(self) -> None:
        """Cancel what runs."""
        with self._lock:
            self._closed = True
            for steps in self._running:
                ray.cancel(steps, force=True)
        self._threads.shutdown(cancel_futures=True)

    def _run(self, task: Task) -> Trial:
        while True:
            try:
                for step in self._steps(task):
                    if isinstance(step, Trial):
                        return step
                    if isinstance(step, _Refusal):
                        self._refuse(step)
                    elif task.checkpoint:
                        write_bytes(task.checkpoint, step)
            except NodeDiedError:
                console.warn(f"a node was lost; trial {task.number} continues on another")
            except (WorkerCrashedError, OutOfMemoryError, TaskCancelledError) as error:
                raise BrokenExecutor(str(error)) from error
            except RayTaskError as error:
                raise error.cause from None
            except RayError as error:
                raise UserError(f"Ray: {error}; run the same command to continue") from error

    def _steps(self, task: Task) -> Iterator["bytes | Trial | _Refusal"]:
        """Run a task on some node, from its last checkpoint."""
        path = task.checkpoint
        state = path.read_bytes() if path and path.exists() else None
        others = ",".join(sorted(self._refused))
        run = _run_task.options(
            num_cpus=self._cores,
            num_gpus=int(self._device.type == "cuda"),
            label_selector={"ray.io/node-id": f"!in({others})"} if others else None,
        )
        task = replace(task, objective=self._objectives[task.objective])
        with self._lock:
            if self._closed:
                raise TaskCancelledError
            reference = run.remote(task, state, self._device, self._machine, self._expected)
            steps = cast("ray.ObjectRefGenerator[bytes | Trial | _Refusal]", reference)
            self._running.add(steps)
        try:
            for step in steps:
                yield ray.get(step)
        finally:
            with self._lock:
                self._running.discard(steps)

    def _refuse(self, refusal: "_Refusal") -> None:
        """Use a node no more. Raises `UserError` if none is left."""
        with self._lock:
            if refusal.node not in self._refused:
                self._refused.add(refusal.node)
                console.warn(f"node {refusal.address} is not used: {refusal.reason}")
        if _nodes(self._cores) <= self._refused:
            raise UserError(f"no node of the Ray cluster can be used: {refusal.reason}")


@dataclass(frozen=True)
class _Shared:
    """An objective in Ray's object store, from where each node takes it once."""

    reference: "ray.ObjectRef[ObjectiveFunction]"

    def __call__(self, *args: Any) -> Iterator[Epoch]:
        return ray.get(self.reference)(*args)


@dataclass(frozen=True)
class _Refusal:
    """Why a node does not run a task."""

    node: str
    address: str
    reason: str


# Not repeated by Ray, which would begin without the checkpoint.
@ray.remote(num_returns="streaming", max_retries=0)
def _run_task(
    task: Task,
    state: bytes | None,
    device: torch.device,
    machine: Machine,
    expected: Mapping[str, str],
) -> Iterator[bytes | Trial | _Refusal]:
    """Run a task on a node: yield the state after each epoch, then the trial."""
    found = machine(device)
    if found != expected:
        node = ray.get_runtime_context().get_node_id()
        yield _Refusal(node, ray.util.get_node_ip_address(), _difference(found, expected))
        return
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt" if task.checkpoint else None
        if checkpoint and state:
            write_bytes(checkpoint, state)
        for step in replace(task, checkpoint=checkpoint).run():
            if isinstance(step, Trial):
                yield step
            elif checkpoint and checkpoint.exists():
                yield checkpoint.read_bytes()


def _difference(found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    return ", ".join(
        f"{name} {found.get(name)} in place of {expected.get(name)}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    )
