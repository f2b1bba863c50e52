"""Notes in Markdown that MLflow's pages show above a run: what it is, and its main metrics.

They are short, because MLflow folds longer ones.
"""

from collections.abc import Mapping
from typing import Any

from mnist_cnn.search.params import Objective
from mnist_cnn.search.trial import Trial, count

EXPERIMENT = (
    "Searches for hyperparameters (`tune`), with their trials as nested runs, and the final "
    "trainings (`train`), with their evaluation on the test set. *Views* has tables of the trials "
    "and of the models."
)


def study(
    summary: Mapping[str, Any], objective: Objective, *, train_size: int, validation_size: int
) -> str:
    """The note of a search, from `reports/tune/metrics.json` and the sizes of its splits."""
    return (
        f"**Search** with {summary['trials']} trials: {summary['complete']} complete, "
        f"{summary['pruned']} pruned, {summary['failed']} failed. Training set: {train_size:,} "
        f"images. Validation set: {validation_size:,}. Best of {summary['finalists']} finalists at "
        f"full length: trial {summary['best_trial']}, {objective.label} "
        f"**{objective.format(summary[objective.metric])}**."
    )


def trial(finished: Trial, objective: Objective) -> str:
    """The note of a trial."""
    value = finished.value
    result = "" if value is None else f", {objective.label} **{objective.format(value)}**"
    return (
        f"**Trial {finished.number}** of a search: {finished.state} after "
        f"{count(len(finished.history), 'epoch')}{result}."
    )


def finalist(training: Trial, seed: int, objective: Objective) -> str:
    """The note of a training of a finalist, whose seeds are counted from 0."""
    value = training.value
    result = "failed" if value is None else f"{objective.label} **{objective.format(value)}**"
    return (
        f"**Finalist**: trial {training.number} of a search, trained at full length with "
        f"seed number {seed}: {result} after {count(len(training.history), 'epoch')}."
    )


def training(metrics: Mapping[str, Any]) -> str:
    """The note of a final training, from `reports/train/metrics.json`.

    The table of a model's versions shows the first words, without formatting.
    """
    return (
        f"{metrics['parameters']:,} parameters, trained for {count(metrics['epochs'], 'epoch')} on "
        f"{metrics['train_examples']:,} images. Final training accuracy (augmented images): "
        f"{metrics['train_accuracy']:.2%}."
    )


def evaluation(
    training_metrics: Mapping[str, Any],
    summary: Mapping[str, float],
    *,
    dataset: str,
    confidence: float,
) -> str:
    """The note of an evaluated model, from the metrics of its training and `metrics.summary`."""
    return (
        f"{training(training_metrics)} Test accuracy **{summary['accuracy']:.2%}** on "
        f"{summary['examples']:,} images of {dataset} ({100 * confidence:.6g}% interval "
        f"{summary['accuracy_low']:.2%} to {summary['accuracy_high']:.2%}), "
        f"{summary['mistakes']} mistakes. Details: the artifact `model_card.md`."
    )
