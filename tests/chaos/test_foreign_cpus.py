"""Portable arithmetic gives the same bytes on foreign CPUs, which QEMU emulates.

It takes minutes, most of them for imports.
"""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mnist_cnn.learning import arithmetic

import pytest
from clone import RESULTS, ROOT, make_clone
from libraries import LIBRARIES

QEMU = shutil.which("qemu-x86_64")
CPUS = ["Haswell", "EPYC"]  # Intel, 2013, and AMD, 2017
OTHER_MAKER = "Haswell" if "AMD" in arithmetic.cpu() else "EPYC"

pytestmark = pytest.mark.skipif(
    QEMU is None or not arithmetic.is_supported(),
    reason="needs Debian's qemu-user and an x86-64 CPU with AVX2",
)

TINY = {
    "tune": {
        **{"trials": 4, "lag": 2, "epochs": 1, "train_size": 300, "validation_size": 100},
        "finalists": {"trials": 1, "seeds": 1},
    },
    "train": {"epochs": 1, "train_size": 300, "threads": 2},
    "evaluate": {"test_size": 200, "threads": 2},
}


def emulated_python(folder, cpu):
    """A virtual environment like this one, whose Python and its children run on a foreign CPU."""
    (folder / "bin").mkdir(parents=True)
    shutil.copy(Path(sys.prefix, "pyvenv.cfg"), folder)
    (folder / "lib").symlink_to(Path(sys.prefix, "lib"))
    script = folder / "bin/python"
    interpreter = Path(sys.executable).resolve()
    # It counts its processes.
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {folder}/started\n'
        f'exec {QEMU} -cpu {cpu} -0 "$0" {interpreter} "$@"\n'
    )
    script.chmod(0o755)
    return script


def digests(python, **variables):
    """The MD5 of what each library computes."""
    done = subprocess.run(
        [python, "tests/support/libraries.py"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=arithmetic.environment_without_arithmetic() | variables,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def native_digests():
    return digests(sys.executable)


@pytest.fixture(scope="module")
def foreign_digests(tmp_path_factory):
    """The digests of each emulated CPU; they run at the same time."""
    pythons = [emulated_python(tmp_path_factory.mktemp(cpu), cpu) for cpu in CPUS]
    with ThreadPoolExecutor() as executor:
        return dict(zip(CPUS, executor.map(digests, pythons), strict=True))


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_computes_the_same_bytes(library, cpu, native_digests, foreign_digests):
    assert foreign_digests[cpu][library] == native_digests[library]


def test_the_square_root_of_mkl_differs_between_makers(native_digests, foreign_digests):
    """So nothing may call it, which `test_architecture` checks."""
    assert native_digests["sqrt"] != foreign_digests[OTHER_MAKER]["sqrt"]


@pytest.mark.skipif("avx512f" not in arithmetic.cpu_flags(), reason="needs a CPU with AVX-512")
def test_without_portable_arithmetic_libraries_compute_other_bytes(native_digests):
    fastest = digests(sys.executable, MNIST_CNN_ARITHMETIC="native")

    different = {library for library in LIBRARIES if fastest[library] != native_digests[library]}
    assert different >= {"oneDNN", "MKL", "PyTorch", "NumPy", "OpenBLAS", "Optuna"}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A clone in which the pipeline ran on a CPU of another maker than that of this one."""
    clone = make_clone(tmp_path_factory.mktemp("foreign"))
    clone.set_params(TINY)
    clone.run("dvc", "repro", "download")
    venv = tmp_path_factory.mktemp("venv")
    python = emulated_python(venv, OTHER_MAKER)
    clone.run("dvc", "repro", PATH=f"{python.parent}:{clone.environment['PATH']}")
    started = (venv / "started").read_text()
    assert all(f"src/{stage}.py" in started for stage in ("tune", "train", "evaluate"))
    return clone


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """A clone in which the pipeline ran on this CPU."""
    clone = make_clone(tmp_path_factory.mktemp("here"))
    clone.set_params(TINY)
    clone.run("dvc", "repro")
    return clone


def test_the_pipeline_writes_the_same_files(native, foreign):
    reports = [
        str(path.relative_to(foreign.folder)) for path in foreign.folder.glob("reports/**/*.*")
    ]

    assert len(reports) > 25
    for path in [*RESULTS, *reports]:
        assert foreign.read(path) == native.read(path), path
