"""Fixtures of all tests."""

import json
import os
import signal

from mnist_cnn.learning import data

import pytest
from clone import ROOT, Clone, make_clone
from described import mnist
from filelock import FileLock
from hypothesis import settings
from ray_nodes import ray_cluster

# A shell starts background processes with Ctrl-C ignored, and `nohup` ignores SIGHUP.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("default", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=5_000)  # `make fuzz`
settings.load_profile("default")


@pytest.fixture(scope="session")
def real_train():
    """The 60,000 training examples."""
    return data.load("train", mnist())


@pytest.fixture(scope="session")
def published_model():
    """The file of the model that README.md describes; tests are skipped if there is another."""
    path = ROOT / "models/best_model.pth"
    metrics = ROOT / "reports/evaluate/metrics.json"
    if not path.exists() or not metrics.exists():
        pytest.skip("models/best_model.pth is missing; `make repro` creates it")
    accuracy = json.loads(metrics.read_text())["test_accuracy"]
    if f"**{100 * accuracy:.2f} %**" not in (ROOT / "README.md").read_text():
        pytest.skip("the results are of other parameters than those in README.md")
    return path


@pytest.fixture(scope="session")
def clone(tmp_path_factory):
    """A clone in which `dvc repro` has run. Tests must leave it as it is.

    All processes of pytest-xdist share it.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / "clone.lock"):
        output = folder / "output"
        if not output.exists():
            output.write_text(make_clone(folder / "clone").run("dvc", "repro").stdout)
    made = Clone(folder / "clone")
    made.output = output.read_text()
    return made


@pytest.fixture
def cluster():
    """A Ray cluster without nodes."""
    with ray_cluster() as started:
        yield started


@pytest.fixture
def searching(tmp_path):
    """A clone that is ready for a search."""
    made = make_clone(tmp_path / "clone")
    made.run("dvc", "repro", "download")
    return made
