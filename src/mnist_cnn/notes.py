"""Notes in Markdown that the MLflow UI shows above a run: what it is, the figures that matter.

They are short, as the UI folds what is longer than a few lines, and plain where lists of it show
them as they are written.
"""

from collections.abc import Mapping
from typing import Any


def epochs(count: int) -> str:
    """So many epochs."""
    return f"{count} epoch" if count == 1 else f"{count} epochs"


def study(summary: Mapping[str, Any], *, examples: int, held_out: int) -> str:
    """Of a search, from its `results.summary` and the numbers of images."""
    return (
        f"**A search** of {summary['trials']} trials ({summary['complete']} complete, "
        f"{summary['pruned']} pruned, {summary['failed']} failed) on {examples:,} training images, "
        f"judged on {held_out:,} others. The best, trial {summary['best_trial']}, is right on "
        f"**{summary['validation_accuracy']:.2%}** of these."
    )


def trial(number: int, state: str, done: int, accuracy: float | None) -> str:
    """Of a trial: how it ended, after so many epochs, and its accuracy where it has one."""
    found = "" if accuracy is None else f", right on **{accuracy:.2%}** of the images held out"
    return f"**Trial {number}** of a search: {state} after {epochs(done)}{found}."


def training(figures: Mapping[str, Any]) -> str:
    """Of a final training, from `reports/train/metrics.json`."""
    return (
        f"A network of {figures['parameters']:,} weights, trained for {epochs(figures['epochs'])} "
        f"on {figures['examples']:,} images; as it learnt from them, it had "
        f"{figures['train_accuracy']:.2%} right at last."
    )


def model(
    figures: Mapping[str, Any], summary: Mapping[str, float], *, dataset: str, confidence: float
) -> str:
    """Of a model that was tested, from the figures of its training and `metrics.summary`."""
    return (
        f"{training(figures)} Of {summary['examples']:,} test images of {dataset} it is right on "
        f"{summary['accuracy']:.2%} ({summary['accuracy_low']:.2%} to "
        f"{summary['accuracy_high']:.2%} at {100 * confidence:.6g}% confidence), with "
        f"{summary['mistakes']} mistakes. More: `reports/model_card.md` among the artifacts."
    )
