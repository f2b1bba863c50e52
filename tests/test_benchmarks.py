"""`make speedrun` runs, and its recipe still learns what it did."""

import re
import subprocess
import sys

import pytest
from clone import ROOT


@pytest.fixture(scope="module")
def accuracies():
    """Mean test accuracy by recipe, as `speedrun.py` prints it, of one seed."""
    command = [sys.executable, "benchmarks/speedrun.py", "--seeds", "1"]
    table = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {
        name: float(percent) for name, percent in re.findall(r"\| (.*?) \| ([0-9.]+)% ±", table)
    }


@pytest.mark.parametrize(("epochs", "least"), [(1, 98.9), (2, 99.2)])
def test_the_recipe_learns_as_much_in_so_few_epochs(accuracies, epochs, least):
    assert accuracies[f"`fit`, epochs: {epochs}"] > least
