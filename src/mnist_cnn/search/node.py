"""What runs on a node of a Ray cluster.

It imports no library but Ray until it knows that the node has the libraries.
"""

import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_cnn.files import write_bytes
from mnist_cnn.learning import arithmetic

import ray

if TYPE_CHECKING:
    from mnist_cnn.search.trial import ObjectiveFunction, Trial

    import torch

Machine = Callable[["torch.device"], Mapping[str, str]]
"""Describes what the calling process has to compute with on a device. Processes with the same
description compute the same results."""


@dataclass(frozen=True)
class Requirements:
    """What a node needs to compute the same as the machine that sends it a task."""

    device: "torch.device"
    machine: Machine
    expected: Mapping[str, str]
    """What `machine` gives where the task comes from."""


@dataclass(frozen=True)
class Refusal:
    """Why a node does not run a task."""

    node: str
    address: str
    reason: str


# Not repeated by Ray, which would begin without the checkpoint.
@ray.remote(num_returns="streaming", max_retries=0)
def run_on_node(
    requirements: bytes,
    task: bytes,
    objectives: "list[ray.ObjectRef[ObjectiveFunction]]",
    state: bytes | None,
    portable: bool,
) -> "Iterator[bytes | Trial | Refusal]":
    """Run a task on the node that calls this: yield the state after each epoch, then the trial.

    Args:
        requirements: the `Requirements`, pickled.
        task: the `Task` without its objective, pickled.
        objectives: its objective; Ray fetches what is in a list only when asked.
        state: the checkpoint to continue from.
        portable: whether the task needs portable arithmetic.
    """
    # A library with portable kernels would crash on such a CPU as soon as it loads.
    if portable and not arithmetic.is_supported():
        yield _refusal(f"{arithmetic.cpu()} is not an x86-64 CPU with AVX2 and FMA")
        return
    try:
        required: Requirements = pickle.loads(requirements)  # noqa: S301
        found = required.machine(required.device)
    except Exception as error:
        yield _refusal(f"{type(error).__name__}: {error}".splitlines()[0])
        return
    if found != required.expected:
        yield _refusal(_difference(found, required.expected))
        return
    from mnist_cnn.search.trial import Task, Trial  # noqa: PLC0415

    alone: Task = pickle.loads(task)  # noqa: S301
    objective = ray.get(objectives[0])
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt" if alone.checkpoint else None
        if checkpoint and state:
            write_bytes(checkpoint, state)
        for step in replace(alone, objective=objective, checkpoint=checkpoint).run():
            if isinstance(step, Trial):
                yield step
            elif checkpoint and checkpoint.exists():
                yield checkpoint.read_bytes()


def _refusal(reason: str) -> Refusal:
    node = ray.get_runtime_context().get_node_id()
    return Refusal(node, ray.util.get_node_ip_address(), reason)


def _difference(found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    return ", ".join(
        f"{name} {found.get(name)} in place of {expected.get(name)}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    )
