"""Environment variables fix portable arithmetic, on CPUs that can do it."""

import os
import sys

from mnist_cnn import console
from mnist_cnn.learning import arithmetic

import pytest

PORTABLE = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "NPY_ENABLE_CPU_FEATURES": "X86_V2",
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
}
OF_THE_USER = {"MKL_CBWR": "AUTO", "NPY_DISABLE_CPU_FEATURES": "X86_V4"}
NATIVE = {"MNIST_CNN_ARITHMETIC": "native"}


@pytest.fixture
def prepare(monkeypatch):
    """Prepare a process on a pretended CPU; return its environment variables."""

    def prepare(flags="avx2 fma", **variables):
        monkeypatch.setattr(arithmetic.platform, "machine", lambda: "x86_64")
        monkeypatch.setattr(arithmetic, "cpu_flags", lambda: set(flags.split()))
        monkeypatch.setattr(arithmetic, "cpu", lambda: "Abacus 2000")
        monkeypatch.setattr(os, "environ", OF_THE_USER | {"OMP_DYNAMIC": "true"} | variables)
        arithmetic.prepare()
        return os.environ

    return prepare


def test_portable_arithmetic_overrides_the_environment_of_the_user(prepare, capsys):
    assert prepare() == PORTABLE
    arithmetic.restart_with("portable")

    assert arithmetic.is_portable()
    assert capsys.readouterr().out == ""


def test_native_arithmetic_keeps_the_kernels_of_the_user(prepare, capsys):
    assert prepare(**NATIVE) == OF_THE_USER | NATIVE | {"OPENBLAS_NUM_THREADS": "1"}
    arithmetic.restart_with("native")

    assert not arithmetic.is_portable()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("flags", ["avx2", "fma", ""])
def test_a_cpu_without_portable_arithmetic_keeps_its_kernels_with_a_warning(prepare, capsys, flags):
    assert prepare(flags) == OF_THE_USER | {"OPENBLAS_NUM_THREADS": "1"}
    arithmetic.restart_with("portable")

    assert not arithmetic.is_portable()
    assert capsys.readouterr().out == (
        "Abacus 2000: not an x86-64 CPU with AVX2 and FMA, so results may differ from those of "
        "other CPUs\n"
    )


@pytest.mark.parametrize(
    ("started", "wanted"), [({}, "native"), (NATIVE, "portable")], ids=["native", "portable"]
)
def test_a_script_restarts_with_the_wanted_arithmetic(prepare, monkeypatch, started, wanted):
    prepare(**started, HOME="/home")
    calls = []
    monkeypatch.setattr(os, "execve", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(sys, "orig_argv", ["python", "src/train.py", "--quiet"])
    monkeypatch.setattr(console, "warn", lambda _line: None)

    arithmetic.restart_with(wanted)

    command = [sys.executable, "src/train.py", "--quiet"]
    assert calls == [(sys.executable, command, {"HOME": "/home", "MNIST_CNN_ARITHMETIC": wanted})]
