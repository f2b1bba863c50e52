"""Faults in a real run: what `FAULT` names happens at the point in the code that `FAULT_AT` names.

Python imports this file if its folder is on `PYTHONPATH`. The points are the calls of
`mnist_cnn.faults.point`, and `dvc records a stage`. `FAULT_AT=name` or `name:n` is the n-th time
that one process comes to a point. `FAULT` is `kill`, which kills the process group, or `fill`,
which fills the disk with a file `ballast`. `EPOCHS` names a file that gets a line for each epoch
that begins, and one for each checkpoint.
"""

import os
import signal
from contextlib import suppress
from itertools import count
from pathlib import Path


def kill():
    os.killpg(0, signal.SIGKILL)


def fill():
    with suppress(OSError), Path("ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(1 << 16))


FAULTS = {"kill": kill, "fill": fill}

name, _, nth = os.environ.get("FAULT_AT", "").partition(":")
calls = count(1)


def point(here, path=None, epoch=None):
    if "EPOCHS" in os.environ and here in ("epoch begun", "checkpoint saved"):
        line = "begun" if path is None else f"{path.parent.name}/{path.name} {epoch}"
        with Path(os.environ["EPOCHS"]).open("a") as file:
            file.write(f"{line}\n")
    if here == name and next(calls) == int(nth or 1):
        FAULTS[os.environ.get("FAULT", "kill")]()


if name or "EPOCHS" in os.environ:
    from mnist_cnn import faults

    faults.point = point

if name == "dvc records a stage":
    from dvc.stage import Stage

    save = Stage.save

    def faulty_save(*arguments, **options):
        point(name)
        return save(*arguments, **options)

    Stage.save = faulty_save
