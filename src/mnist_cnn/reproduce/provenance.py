"""What a result is made from: inputs by MD5, parameters, versions, hardware and commit.

The inputs of a stage are its dependencies in `dvc.yaml`, so this project and DVC agree on what
determines a result.
"""

import hashlib
import json
import platform
import re
from dataclasses import asdict, dataclass
from importlib.metadata import Distribution, distributions, version
from pathlib import Path
from typing import Any

from mnist_cnn import yaml_files
from mnist_cnn.errors import UserError
from mnist_cnn.files import md5, md5_folder
from mnist_cnn.learning import compute
from mnist_cnn.learning.arithmetic import cpu
from mnist_cnn.reproduce.git import Commit, current_commit

import torch

# The libraries that can change a result.
_LIBRARIES = (
    "torch", "numpy", "scipy", "scikit-learn", "scikit-image", "optuna", "cmaes", "matplotlib",
    "pillow",
)  # fmt: skip


@dataclass(frozen=True)
class Inputs:
    """All that determines the result of a stage."""

    stage: str
    params: dict[str, Any]
    """The sections of `params.yaml`, and the single values as `section.key`, that the stage depends
    on."""
    files: dict[str, str]
    """The MD5 of each file and folder that the stage depends on, by path, as in `dvc.lock`."""
    versions: dict[str, str]
    """Of Python and the libraries that can change a result."""
    device: str
    """`cpu` or `cuda`."""
    kernels: dict[str, str]
    """Which kernels each library uses; and the CPU, unless they are portable, and the GPU."""

    @property
    def fingerprint(self) -> str:
        """A hexadecimal digest that differs if anything differs."""
        content = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from."""

    inputs: Inputs
    commit: Commit | None
    """None outside git."""
    environment: dict[str, Any]
    """Installed packages and hardware."""

    @property
    def patch(self) -> bytes:
        """The uncommitted changes."""
        return self.commit.patch if self.commit else b""

    def document(self) -> dict[str, Any]:
        """All of it as plain values, except the patch."""
        commit = (
            {"revision": self.commit.revision, "clean": self.commit.clean} if self.commit else None
        )
        return asdict(self.inputs) | {"commit": commit, "environment": self.environment}

    def tags(self) -> dict[str, str]:
        """Tags for a run."""
        tags = {"fingerprint": self.inputs.fingerprint}
        if self.commit:
            clean = str(self.commit.clean).lower()
            tags |= {"git.commit": self.commit.revision, "git.clean": clean}
        return tags

    def params(self) -> dict[str, Any]:
        """The parameters of all sections, and the single ones, for a run."""
        params: dict[str, Any] = {}
        for name, value in self.inputs.params.items():
            params |= {name: value} if "." in name else value
        return params


def of_stage(stage: str, device: torch.device) -> Provenance:
    """The provenance of a stage that is about to run in the current folder, on a device.

    Raises `UserError` if an input of the stage is missing.
    """
    params = yaml_files.read(Path("params.yaml"))
    defined = yaml_files.read(Path("dvc.yaml"))["stages"][stage]
    paths = [Path(_interpolate(dep, params)) for dep in defined["deps"]]
    if missing := [path for path in paths if not path.exists()]:
        raise UserError(f"{missing[0]}: missing; `dvc repro {stage}` runs the stages before")
    inputs = Inputs(
        stage=stage,
        params={name: param(params, name) for name in defined["params"]},
        files={str(path): md5_path(path) for path in paths},
        versions=versions(),
        device=device.type,
        kernels=kernels(device),
    )
    return Provenance(inputs, current_commit(), environment())


def param(params: dict[str, Any], name: str) -> Any:
    """A section of `params.yaml`, or the value at `section.key`; None if there is none."""
    section, _, key = name.partition(".")
    return params.get(section, {}).get(key) if key else params.get(section)


def _interpolate(text: str, params: dict[str, Any]) -> str:
    """Replace `${section.key}` by the parameter; DVC's resolver would take a fifth of a second."""
    return re.sub(r"\$\{(\w+)\.(\w+)\}", lambda name: str(params[name[1]][name[2]]), text)


def md5_path(path: Path) -> str:
    """The MD5 of a file or a folder, as in `dvc.lock`."""
    return md5_folder(path) if path.is_dir() else md5(path)


def versions() -> dict[str, str]:
    """The installed versions of Python and of the libraries that can change a result.

    Without local parts such as `+cpu`: on a CPU, PyTorch's builds with and without CUDA are alike.
    """
    public = {name: version(name).partition("+")[0] for name in _LIBRARIES}
    return public | {"python": platform.python_version()}


def kernels(device: torch.device) -> dict[str, str]:
    """The kernels that each library uses; and the CPU, unless they are portable, and the GPU."""
    used = compute.kernels()
    if used != compute.PORTABLE_KERNELS:
        used = used | {"CPU": cpu()}
    if device.type == "cuda":
        used = used | {"GPU": compute.machine()["gpu"] or "none"}
    return used


def machine(device: torch.device) -> dict[str, str]:
    """All of the machine and its environment that can change what is computed on a device."""
    return versions() | kernels(device)


def is_recorded(inputs: Inputs) -> bool:
    """Whether `dvc.lock` says that the stage ended with exactly these files and parameters."""
    lock = Path("dvc.lock")
    # It can be empty, because DVC writes it in place.
    content = yaml_files.read(lock) if lock.exists() else None
    stages = content["stages"] if content else {}
    if inputs.stage not in stages:
        return False
    recorded = stages[inputs.stage]
    files = {dep["path"]: dep["md5"] for dep in recorded["deps"]}
    return files == inputs.files and recorded["params"]["params.yaml"] == inputs.params


def environment() -> dict[str, Any]:
    """Installed packages and hardware, recorded for reproduction."""
    return {
        "python": platform.python_version(),
        "packages": {each.name: each.version for each in sorted(distributions(), key=_name)},
        "platform": platform.platform(),
        **compute.machine(),
    }


def _name(distribution: Distribution) -> str:
    return distribution.name.lower()
