"""Whatever the environment says, a process computes with the arithmetic that was asked for."""

import subprocess
import sys

from mnist_cnn.learning import arithmetic

import pytest

pytestmark = pytest.mark.skipif(
    "avx512f" not in arithmetic.cpu_flags(), reason="needs a CPU with AVX-512 to differ from"
)


def python(code, *arguments, **variables):
    """What Python code prints, in a process whose arithmetic is not fixed yet."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=arithmetic.environment_without_arithmetic() | variables,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


CONFIGURE = """
from mnist_cnn.learning import compute
from mnist_cnn.errors import UserError
try:
    compute.configure(2, "portable")
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("code", "library"),
    [("import numpy", "NumPy"), ("import torch; torch.ones(9).exp()", "PyTorch")],
)
def test_a_library_that_was_loaded_too_early_is_an_error(code, library):
    message = python(code + CONFIGURE)

    assert message.startswith(f"{library} uses ")
    assert message.endswith(f"import mnist_cnn before {library}\n")


def test_a_process_with_the_other_arithmetic_is_an_error():
    message = python(CONFIGURE, MNIST_CNN_ARITHMETIC="native")

    assert message.startswith("this process began with native arithmetic")


def test_variables_in_the_environment_change_nothing():
    total = "\nimport torch; torch.manual_seed(0)\nprint(torch.randn(100_000).sum().item().hex())"
    variables = {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "AUTO",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4",
        "OPENBLAS_CORETYPE": "Sandybridge",
        # These would give one thread, which sums in another order.
        "OMP_THREAD_LIMIT": "1",
        "OMP_DYNAMIC": "true",
    }

    assert python(CONFIGURE + total, **variables) == python(CONFIGURE + total)


@pytest.mark.parametrize(
    ("wanted", "other", "kernels"), [("portable", "native", "avx2"), ("native", "portable", "avx5")]
)
def test_a_script_restarts_with_the_arithmetic_of_its_parameters(wanted, other, kernels):
    code = """
import sys
from mnist_cnn.learning import arithmetic, compute
arithmetic.restart_with(sys.argv[1])
print(compute.kernels()["oneDNN"])
"""
    assert python(code, wanted, MNIST_CNN_ARITHMETIC=other).startswith(kernels)
