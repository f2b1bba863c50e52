"""The section `evaluate` of `params.yaml`."""

from typing import Annotated

from mnist_cnn.learning.params import Size
from mnist_cnn.yaml_files import Section

from pydantic import Field, PositiveInt


class Evaluate(Section):
    """The evaluation on the test set."""

    threads: PositiveInt
    """Threads of PyTorch. Their number decides the order of sums, so it changes the result."""
    test_size: Size
    """Number of test images; each class must have one at least."""
    confidence: Annotated[float, Field(gt=0, lt=1)]
    """Confidence level of the intervals; 1 minus it is the level of the paired test that decides
    whether a new version of the model becomes champion."""
    calibration_bins: PositiveInt
    worst_mistakes: PositiveInt
    """The number of mistakes to plot, the most confident first."""
    corrupted_size: PositiveInt
    """The number of test images that are corrupted, at most all."""
