"""Finalists: the best trials, trained at full length. The best of them is chosen.

Trials are short, and the best of them differ by less than the standard error of their results, so
chance would choose one.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from mnist_cnn.datasets.description import Form
from mnist_cnn.errors import FailedJobError
from mnist_cnn.learning import calibration, model, training
from mnist_cnn.learning.data import Examples
from mnist_cnn.learning.hyperparameters import parse
from mnist_cnn.networks import Classifier
from mnist_cnn.search import running
from mnist_cnn.search.params import Objective, Tune
from mnist_cnn.search.running import Executor
from mnist_cnn.search.summary import ranked
from mnist_cnn.search.trial import ObjectiveFunction, Task, Trial, count

import torch
from optuna.trial import TrialState, create_trial


@dataclass(frozen=True)
class Finalist:
    """A trial's hyperparameters, trained at full length under one or more seeds."""

    trial: Trial
    trainings: tuple[Trial, ...]
    """One for each seed, in the order of seeds; the number of each is that of the trial."""

    @property
    def complete(self) -> bool:
        """Whether no training failed."""
        return all(each.state == "complete" for each in self.trainings)

    @property
    def cause(self) -> str:
        """Why the first training that failed did so; empty if none failed."""
        return next((each.cause for each in self.trainings if each.error), "")

    def mean(self, metric: str) -> float:
        """The mean of a metric of `training.Epoch` after the last epoch."""
        return mean(each.history[-1].metrics()[metric] for each in self.trainings)

    def metrics(self, objective: Objective) -> dict[str, float]:
        """The mean validation metrics, and that of the objective."""
        names = dict.fromkeys(("validation_accuracy", "validation_loss", objective.metric))
        return {name: self.mean(name) for name in names}

    def describe(self, objective: Objective) -> str:
        """The finalist in one line."""
        of = f"trial {self.trial.number:3} at full length"
        if not self.complete:
            return f"{of}: failed ({self.cause})"
        value, loss = self.mean(objective.metric), self.mean("validation_loss")
        after = count(len(self.trainings[0].history), "epoch")
        return f"{of}, {after}: {objective.format(value)}, loss {loss:.4f}"


def at_full_length(tune: Tune, epochs: int) -> Tune:
    """The parameters of the finalists' trainings: other epochs than the trials', and no pruning."""
    return tune.model_copy(update={"epochs": epochs, "pruner": {"name": "NopPruner"}})


def train(
    tune: Tune,
    objective: ObjectiveFunction,
    trials: Sequence[Trial],
    executor: Executor,
    checkpoints: Path,
) -> Iterator[Finalist]:
    """Train the best trials at full length, and yield each, the best trial first.

    All finalists have the same seeds, so that these favour none.

    Args:
        tune: from `at_full_length`.
        objective: as for `study.search`, at full length.
        trials: those of the search.
        executor: runs all trainings, as many at once as it can.
        checkpoints: a folder for the state of each training, which remains there.
    """
    chosen = ranked(trials, tune.objective)[: tune.finalists.trials]
    seeds = range(tune.finalists.seeds)
    under_way = deque(
        running.start(_training(each, seed, tune, objective, checkpoints), executor)
        for each in chosen
        for seed in seeds
    )
    for each in chosen:
        trainings = [running.result(under_way.popleft(), executor, under_way) for _ in seeds]
        yield Finalist(each, tuple(trainings))


def _training(
    finalist: Trial, seed: int, tune: Tune, objective: ObjectiveFunction, checkpoints: Path
) -> Task:
    """The training of a finalist under one of its seeds, which are counted from 0."""
    return Task(
        objective=objective,
        number=finalist.number,
        hyperparameters=finalist.hyperparameters,
        seed=training.derive_seed(tune.seed, seed, 2),  # a trial's path ends with 1
        earlier=[create_trial(state=TrialState.RUNNING)] * finalist.number,  # compared with none
        tune=tune,
        checkpoint=_checkpoint(checkpoints, finalist.number, seed),
    )


def best(finalists: Sequence[Finalist], objective: Objective) -> Finalist:
    """The finalist with the best mean value, of equals that with the lowest mean validation loss.

    Raises `FailedJobError` if a training of each finalist failed.
    """
    complete = [each for each in finalists if each.complete]
    if not complete:
        raise FailedJobError(f"every finalist failed, the first one with: {finalists[0].cause}")
    return min(
        complete,
        key=lambda each: (
            _rank(each, objective),
            each.mean("validation_loss"),
            each.trial.number,
        ),
    )


def tied(finalists: Sequence[Finalist], chosen: Finalist, objective: Objective) -> list[Finalist]:
    """The finalists with the mean value of the chosen one, whose loss was lower."""
    return [
        each
        for each in finalists
        if each.complete
        and _rank(each, objective) == _rank(chosen, objective)
        and each.mean("validation_loss") > chosen.mean("validation_loss")
    ]


def _rank(finalist: Finalist, objective: Objective) -> float:
    """The mean value; better is lower. Equal means of other values can differ in the last digit."""
    return round(objective.sign * finalist.mean(objective.metric), 12)


def summary(chosen: Finalist, objective: Objective) -> dict[str, Any]:
    """The trial and the mean metrics of the chosen finalist."""
    return {"best_trial": chosen.trial.number} | chosen.metrics(objective)


def table(finalists: Sequence[Finalist]) -> list[dict[str, Any]]:
    """A row for each epoch: the trial's number, the seed from 0, and the epoch's metrics."""
    return [
        {"number": each.trial.number, "seed": seed} | epoch.metrics()
        for each in finalists
        for seed, trained in enumerate(each.trainings)
        for epoch in trained.history
    ]


def networks(
    finalist: Finalist,
    tune: Tune,
    network: str,
    form: Form,
    device: torch.device,
    checkpoints: Path,
) -> list[Classifier]:
    """The trained networks of a finalist, one for each seed.

    Args:
        finalist: a complete one.
        tune: for the fixed hyperparameters.
        network: the name of its module.
        form: that of the data set.
        device: where the networks are put.
        checkpoints: the folder that `train` had.
    """
    hyperparameters = parse(tune.hyperparameters | finalist.trial.hyperparameters, network)
    trained = []
    for seed in range(len(finalist.trainings)):
        trained.append(training.build(hyperparameters, form, seed=0).to(device))
        training.restore(trained[-1], _checkpoint(checkpoints, finalist.trial.number, seed))
    return trained


def predictions(
    trained: Sequence[Classifier], validation: Examples, device: torch.device
) -> list[dict[str, Any]]:
    """What the networks of a finalist predict: a row for each validation image.

    Args:
        trained: the networks, on `device`.
        validation: the validation set, on the CPU.
        device: the device to compute on.

    Returns:
        Rows with the MD5 of the pixels as `image`, the `label`, and the predicted class of the
        network of each seed as `seed_0`, `seed_1`, …
    """
    images = validation.images.to(device)
    columns = {
        f"seed_{seed}": model.probabilities(network, images).argmax(1).tolist()
        for seed, network in enumerate(trained)
    }
    rows = zip(*columns.values(), strict=True)
    return [
        {"image": image, "label": label} | dict(zip(columns, row, strict=True))
        for image, label, row in zip(
            validation.image_digests(), validation.labels.tolist(), rows, strict=True
        )
    ]


def calibrate(
    trained: Sequence[Classifier], train: Examples, validation: Examples, rejected: float
) -> dict[str, float]:
    """The `temperature` and the `threshold` of a calibration, as means over the networks.

    The final network is trained on all images, so it has none left for this. It gets those of
    networks with its hyperparameters.

    Args:
        trained: the networks of a finalist, on the device of the examples.
        train: what they were trained on.
        validation: what they were not trained on.
        rejected: the fraction of validation images that the threshold rejects, in (0, 1).
    """
    found = []
    for network in trained:
        detector = calibration.fit_detector(network, train)
        threshold = calibration.fit_threshold(network, detector, validation.images, rejected)
        found.append((calibration.fit_temperature(network, validation), threshold))
    means = [sum(values) / len(found) for values in zip(*found, strict=True)]
    return dict(zip(("temperature", "threshold"), means, strict=True))


def _checkpoint(folder: Path, number: int, seed: int) -> Path:
    return folder / f"finalist-{number:03}-{seed}.pt"
