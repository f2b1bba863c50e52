"""Notes in Markdown that the MLflow UI shows above a run: what it is, the figures that matter."""

from collections.abc import Mapping
from typing import Any


def study(summary: Mapping[str, Any], *, examples: int, held_out: int) -> str:
    """Of a search, from its `results.summary` and the numbers of images."""
    return (
        f"**A search** of {summary['trials']} trials on {examples:,} training images, judged on "
        f"{held_out:,} others: {summary['complete']} complete, {summary['pruned']} pruned, "
        f"{summary['failed']} failed.\n\n"
        f"The best is trial {summary['best_trial']}, right on "
        f"**{summary['validation_accuracy']:.2%}** of the images held out."
    )


def trial(
    number: int, state: str, epochs: int, accuracy: float | None, drawn: Mapping[str, Any]
) -> str:
    """Of a trial: how it ended, its validation accuracy where it has one, what was drawn for it."""
    found = "" if accuracy is None else f", right on **{accuracy:.2%}** of the images held out"
    values = "\n".join(f"- {name}: {_short(value)}" for name, value in sorted(drawn.items()))
    return f"**Trial {number}** of a search: {state} after {epochs} epochs{found}.\n\n{values}"


def training(figures: Mapping[str, Any]) -> str:
    """Of a final training, from `reports/train/metrics.json`."""
    return (
        f"**A network of {figures['parameters']:,} weights**, trained for {figures['epochs']} "
        f"epochs on {figures['examples']:,} images; of these, augmented, it had "
        f"{figures['train_accuracy']:.2%} right at last."
    )


def model(
    figures: Mapping[str, Any], summary: Mapping[str, float], *, tested: int, confidence: float
) -> str:
    """Of a model that was tested, from the figures of its training and `metrics.summary`."""
    return (
        f"Right on **{summary['accuracy']:.2%}** of {tested:,} test images "
        f"({summary['accuracy_low']:.2%} to {summary['accuracy_high']:.2%} at {confidence:.0%} "
        f"confidence), {summary['mistakes']} mistakes.\n\n{training(figures)}\n\n"
        "All else: `model_card.md` among the artifacts."
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
