"""`make speedrun` runs, and its recipe reaches its accuracy."""

import re
import subprocess
import sys

import pytest
from clone import ROOT


@pytest.fixture(scope="module")
def accuracies():
    """Test accuracy of each recipe for one seed, as `speedrun.py` prints it."""
    command = [sys.executable, "benchmarks/speedrun.py", "--seeds", "1"]
    table = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {
        name: float(percent) for name, percent in re.findall(r"\| (.*?) \| ([0-9.]+)% ±", table)
    }


@pytest.mark.parametrize(("epochs", "minimum"), [(1, 98.9), (2, 99.2)])
def test_the_recipe_reaches_its_accuracy(accuracies, epochs, minimum):
    assert accuracies[f"`fit`, epochs: {epochs}"] > minimum
