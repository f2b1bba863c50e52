"""Runs trials on a Ray cluster. Where a trial runs, and how often, changes only the time."""

import logging
import os
import pickle
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import mnist_cnn
from mnist_cnn import console
from mnist_cnn.errors import UserError
from mnist_cnn.files import write_bytes
from mnist_cnn.learning import arithmetic
from mnist_cnn.search import executors
from mnist_cnn.search.node import Machine, Refusal, Requirements, run_on_node
from mnist_cnn.search.trial import ObjectiveFunction, Task, Trial

import ray
import torch
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)

_LOSSES = 4
"""The search stops if a trial loses this many nodes and ends no epoch in between."""


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
    here: dict[str, Any] = {}
    if not address:
        cores = threads * (workers or executors.default_size(threads, device))
        here = {"address": "local", "num_cpus": cores, "include_dashboard": False}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        if address:
            _check_answer(address)
        ray.init(
            **here,
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
    if not cluster.has_node():
        gpus = ", GPUs: 1" if device.type == "cuda" else ""
        console.warn(
            f"no node of the Ray cluster has room for a trial (CPUs: {threads}{gpus}); waiting"
        )
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


def _environment(device: torch.device) -> dict[str, str]:
    """The environment variables that fix the arithmetic, and the device, of a worker."""
    own = dict(os.environ.items() - arithmetic.environment_without_arithmetic().items())
    own[arithmetic.VARIABLE] = arithmetic.current()  # a node may have another
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
        self._room = {"CPU": threads, "GPU": int(device.type == "cuda")}
        self._requirements = pickle.dumps(Requirements(device, machine, dict(machine(device))))
        self._objectives: dict[ObjectiveFunction, ray.ObjectRef[ObjectiveFunction]] = {}
        self._refused: set[str] = set()
        self._running: set[ray.ObjectRefGenerator[bytes | Trial | Refusal]] = set()
        self._closed = False
        self._lock = threading.Lock()

    def submit(self, task: Task, /) -> Future[Trial]:
        """Run a task as soon as there is room for it.

        The future raises what the task raises, `BrokenExecutor` if its process died, and
        `UserError` if no node can run it.
        """
        if task.objective not in self._objectives:
            self._objectives[task.objective] = ray.put(task.objective)
        return self._threads.submit(self._run, task)

    def has_node(self) -> bool:
        """Whether a node is large enough for a trial, and was not refused."""
        return any(
            node["Alive"]
            and node["NodeID"] not in self._refused
            and all(node["Resources"].get(name, 0) >= size for name, size in self._room.items())
            for node in ray.nodes()
        )

    def close(self) -> None:
        """Cancel what runs."""
        with self._lock:
            self._closed = True
            for steps in self._running:
                ray.cancel(steps, force=True)
        self._threads.shutdown(cancel_futures=True)

    def _run(self, task: Task) -> Trial:
        losses = 0
        while True:
            try:
                for step in self._steps(task):
                    if isinstance(step, Trial):
                        return step
                    if isinstance(step, Refusal):
                        self._refuse(step)
                    elif task.checkpoint:
                        write_bytes(task.checkpoint, step)
                        losses = 0
            except (NodeDiedError, ObjectLostError) as error:
                losses += 1
                if losses == _LOSSES:  # perhaps by what the trial does
                    raise UserError(
                        f"trial {task.number} lost {losses} nodes within one epoch; run the same "
                        "command to continue"
                    ) from error
                rest = "continues on another" if self.has_node() else "waits for one"
                console.warn(f"a node was lost; trial {task.number} {rest}")
            except (WorkerCrashedError, OutOfMemoryError, TaskCancelledError) as error:
                raise BrokenExecutor(str(error)) from error
            except RayError as error:
                raise UserError(f"Ray: {error}; run the same command to continue") from error

    def _steps(self, task: Task) -> Iterator[bytes | Trial | Refusal]:
        """Run a task on some node, from its last checkpoint. Raises what it raises there."""
        path = task.checkpoint
        state = path.read_bytes() if path and path.exists() else None
        others = ",".join(sorted(self._refused))
        run = run_on_node.options(
            num_cpus=self._room["CPU"],
            num_gpus=self._room["GPU"],
            label_selector={"ray.io/node-id": f"!in({others})"} if others else None,
        )
        alone = replace(task, objective=cast(ObjectiveFunction, None))
        objective = self._objectives[task.objective]
        with self._lock:
            if self._closed:
                raise TaskCancelledError
            reference = run.remote(
                self._requirements,
                pickle.dumps(alone),
                [objective],
                state,
                arithmetic.is_portable(),
            )
            steps = cast("ray.ObjectRefGenerator[bytes | Trial | Refusal]", reference)
            self._running.add(steps)
        try:
            for step in steps:
                yield ray.get(step)
        except RayTaskError as error:
            raise error.cause from None
        finally:
            with self._lock:
                self._running.discard(steps)

    def _refuse(self, refusal: Refusal) -> None:
        """Use a node no more. Raises `UserError` if none is left."""
        with self._lock:
            if refusal.node not in self._refused:
                self._refused.add(refusal.node)
                console.warn(f"node {refusal.address} is not used: {refusal.reason}")
        if not self.has_node():
            raise UserError(f"no node of the Ray cluster can be used: {refusal.reason}")
