"""The section `tune` of `params.yaml`."""

from typing import Annotated, Any, Literal, Self

from mnist_cnn.datasets.description import Form
from mnist_cnn.learning import hyperparameters
from mnist_cnn.learning.params import Seed, Size
from mnist_cnn.networks import check
from mnist_cnn.search import space
from mnist_cnn.search.space import Range
from mnist_cnn.yaml_files import Section

from pydantic import Field, PositiveInt, model_validator


class Objective(Section):
    """What the search improves: a metric after the last epoch of a trial."""

    metric: Literal["validation_accuracy", "validation_loss", "train_accuracy", "train_loss"]
    """A field of `training.Epoch`."""
    direction: Literal["maximize", "minimize"]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.direction == "minimize") != self.metric.endswith("loss"):
            raise ValueError(f"{self.direction} {self.metric} would keep the worst trial")
        return self

    @property
    def sign(self) -> int:
        """1 or -1: a value is better if its product with the sign is lower."""
        return 1 if self.direction == "minimize" else -1

    @property
    def label(self) -> str:
        """The name of the metric in words."""
        return self.metric.replace("_", " ")

    def format(self, value: float) -> str:
        """A value of the metric: an accuracy in percent, a loss with four decimal places."""
        return f"{value:.2%}" if self.metric.endswith("accuracy") else f"{value:.4f}"


class Finalists(Section):
    """How many of the best trials are trained at full length, `train.epochs`, to choose one."""

    trials: PositiveInt
    seeds: PositiveInt
    """Trainings of each, under different seeds. The mean of their results counts."""


class Tune(Section):
    """The search."""

    seed: Seed
    trials: PositiveInt
    lag: PositiveInt
    """Trials that can be under way at once. Trial n is proposed from, and pruned by comparison
    with, the trials up to n - lag, whatever the number of workers, which is not a parameter."""
    epochs: PositiveInt
    threads: PositiveInt
    """Threads of each trial. Their number decides the order of sums, so it changes the result."""
    train_size: Size
    validation_size: PositiveInt
    objective: Objective
    sampler: dict[str, Any]
    """A class of `optuna.samplers`: its name under `name`, and its arguments."""
    pruner: dict[str, Any]
    """A class of `optuna.pruners`, in the same way. Its steps are epochs, counted from 1."""
    finalists: Finalists
    rejected: Annotated[float, Field(gt=0, lt=1)]
    """The fraction of validation images to reject as unlike the training images. It decides the
    threshold for images from elsewhere."""
    hyperparameters: dict[str, Any]
    """Fixed in every trial."""
    search_space: Annotated[dict[str, Range], Field(min_length=1)]
    """Hyperparameters to tune, by name."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in self.search_space.keys() & self.hyperparameters.keys():
            raise ValueError(f"search_space.{name} is fixed in hyperparameters as well")
        for name, range_ in self.search_space.items():
            for key in range_.only_if:
                if key not in {**self.search_space, **self.hyperparameters}:
                    raise ValueError(
                        f"search_space.{name}.only_if: {key} is neither fixed nor tuned"
                    )
        return self


def check_networks(tune: Tune, network: str, form: Form) -> None:
    """Check that the network can be built at each end of the search space.

    Raises `ValueError` that names the end and the reason.
    """
    fixed = tune.hyperparameters
    try:
        corners = list(space.corners(tune.search_space, fixed))
    except ValueError as error:
        raise ValueError(f"tune: {error}") from None
    for where, tuned in corners:
        try:
            parsed = hyperparameters.parse(fixed | tuned, network)
            check(network, parsed.config, form)
        except ValueError as error:
            raise ValueError(f"tune: {where}: {error}") from None
