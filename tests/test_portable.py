"""Portable arithmetic: foreign CPUs give the same bytes, and what is not portable is refused.

The foreign CPUs are emulated by QEMU, whole instruction sets with the vendor's name.
"""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mnist_cnn import arithmetic

import pytest
from clone import RESULTS, ROOT, make_clone
from libraries import LIBRARIES

QEMU = shutil.which("qemu-x86_64")
CPUS = ["Haswell", "EPYC"]  # of Intel, 2013, and of AMD, 2017

emulated = pytest.mark.skipif(
    QEMU is None or not arithmetic.is_supported(),
    reason="needs Debian's qemu-user and an x86-64 CPU with AVX2",
)
needs_avx512 = pytest.mark.skipif(
    "avx512f" not in arithmetic.cpu_flags(), reason="needs a CPU with AVX-512"
)

TINY = {
    "tune": {"trials": 4, "round_size": 2, "epochs": 1, "train_size": 300, "validation_size": 100},
    "train": {"epochs": 1, "train_size": 300, "threads": 2},
    "evaluate": {"test_size": 200, "threads": 2},
}


def python(*command, check=True, **variables):
    """Run Python with portable arithmetic, unless variables say otherwise; return what it says."""
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=arithmetic.environment_without() | variables,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def emulated_python(folder, cpu):
    """A virtual environment like this one, whose Python runs on a foreign CPU, children too."""
    (folder / "bin").mkdir(parents=True)
    shutil.copy(Path(sys.prefix, "pyvenv.cfg"), folder)
    (folder / "lib").symlink_to(Path(sys.prefix, "lib"))
    script = folder / "bin/python"
    interpreter = Path(sys.executable).resolve()
    script.write_text(f'#!/bin/sh\nexec {QEMU} -cpu {cpu} -0 "$0" {interpreter} "$@"\n')
    script.chmod(0o755)
    return script


@pytest.fixture(scope="module")
def digests():
    """What each library computes here."""
    return json.loads(python("tests/libraries.py").stdout)


@pytest.fixture(scope="module", params=CPUS)
def foreign_digests(request, tmp_path_factory):
    """What each library computes on a foreign CPU."""
    script = emulated_python(tmp_path_factory.mktemp("emulated") / "venv", request.param)
    done = subprocess.run(
        [script, "tests/libraries.py"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=arithmetic.environment_without(),
    )
    return json.loads(done.stdout)


@emulated
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_computes_the_same_bytes_on_a_foreign_cpu(library, digests, foreign_digests):
    assert digests[library] == foreign_digests[library]


@needs_avx512
def test_without_portable_arithmetic_libraries_compute_other_bytes(digests):
    native = json.loads(python("tests/libraries.py", MNIST_CNN_ARITHMETIC="native").stdout)

    differing = {library for library in LIBRARIES if native[library] != digests[library]}
    assert differing >= {"oneDNN", "MKL", "PyTorch", "NumPy", "OpenBLAS", "Optuna"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A clone in which the pipeline ran on this CPU."""
    clone = make_clone(tmp_path_factory.mktemp("here"))
    clone.set_params(TINY)
    clone.run("dvc", "repro")
    return clone


@pytest.fixture(scope="module")
def foreign_clones(tmp_path_factory):
    """Clones in which the pipeline ran on a foreign CPU, by its name."""

    def run(cpu):
        folder = tmp_path_factory.mktemp(cpu)
        script = emulated_python(folder / "venv", cpu)
        clone = make_clone(folder / "clone")
        clone.set_params(TINY)
        clone.run("dvc", "repro", "download")
        clone.run("dvc", "repro", PATH=f"{script.parent}:{clone.environment['PATH']}")
        return clone

    with ThreadPoolExecutor() as executor:  # each takes minutes, mostly of imports
        return dict(zip(CPUS, executor.map(run, CPUS), strict=True))


@emulated
@pytest.mark.parametrize("cpu", CPUS)
def test_the_pipeline_makes_the_same_files_on_a_foreign_cpu(cpu, undisturbed, foreign_clones):
    clone = foreign_clones[cpu]

    reports = [str(path.relative_to(clone.folder)) for path in clone.folder.glob("reports/**/*.*")]
    assert len(reports) > 25
    for path in [*RESULTS, *reports]:
        assert clone.read(path) == undisturbed.read(path), path


def refusal(code, **variables):
    """Why `compute.configure` refuses to go on after some code has run."""
    end = "from mnist_cnn import compute\ntry: compute.configure(1, 'portable')\n"
    end += "except Exception as error: print(type(error).__name__, error)"
    return python("-c", f"{code}\n{end}", **variables).stdout


@needs_avx512
@pytest.mark.parametrize(
    ("code", "library"),
    [("import numpy", "NumPy"), ("import torch; torch.ones(9).exp()", "PyTorch")],
)
def test_a_library_that_was_loaded_too_early_is_named(code, library):
    said = refusal(code)

    assert said.startswith(f"UserError {library} computes with ")
    assert f"import mnist_cnn before {library}" in said


def test_what_the_environment_says_otherwise_does_not_count():
    variables = {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "AUTO",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4",
        "OPENBLAS_CORETYPE": "Sandybridge",
    }

    assert refusal("import mnist_cnn", **variables) == ""


def test_a_process_of_the_other_arithmetic_is_refused():
    assert "this process began with native arithmetic" in refusal("", MNIST_CNN_ARITHMETIC="native")


def test_the_environment_does_not_take_threads_away():
    code = "import mnist_cnn, torch; torch.set_num_threads(2)\n"
    code += "torch.manual_seed(0); x = torch.randn(100_000); print(x.sum().item().hex())"
    expected = python("-c", code).stdout

    assert python("-c", code, OMP_THREAD_LIMIT="1", OMP_DYNAMIC="true").stdout == expected


@needs_avx512
def test_a_script_runs_with_the_arithmetic_that_params_yaml_asks_for(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom mnist_cnn import arithmetic, compute\n"
        "arithmetic.ensure(sys.argv[1])\n"
        "print(compute.kernels()['oneDNN'])\n"
    )

    portable, native = (
        python(str(script), *asked, MNIST_CNN_ARITHMETIC=began).stdout.strip()
        for asked, began in ((["portable"], "native"), (["native"], "portable"))
    )

    assert portable == "avx2"
    assert native.startswith("avx512")


def test_a_cpu_that_cannot_is_left_as_it_is_and_named(monkeypatch, capsys):
    monkeypatch.setattr(arithmetic, "cpu_flags", lambda: {"sse2"})
    monkeypatch.setattr(arithmetic, "cpu", lambda: "Abacus 2000")
    monkeypatch.setattr(os, "environ", {"MKL_CBWR": "AUTO"})

    arithmetic.prepare()
    arithmetic.ensure("portable")

    assert os.environ == {"MKL_CBWR": "AUTO", "OPENBLAS_NUM_THREADS": "1"}
    assert capsys.readouterr().out == (
        "Abacus 2000: not an x86-64 CPU with AVX2 and FMA, so results may differ from those of "
        "other CPUs\n"
    )
