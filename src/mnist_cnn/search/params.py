"""The section `tune` of `params.yaml`."""

from typing import Annotated, Any, Literal, Self

from mnist_cnn.datasets.description import Form
from mnist_cnn.learning import hyperparameters
from mnist_cnn.learning.params import Seed, Size
from mnist_cnn.networks import check
from mnist_cnn.search.space import Range, extremes
from mnist_cnn.yaml_files import Section

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator


class Sampler(Section):
    """What chooses the hyperparameters of the next trials."""

    name: Literal["tpe", "random"]
    startup_trials: NonNegativeInt
    """Number of finished trials before `tpe` uses them; until then it chooses at random."""


class Pruner(Section):
    """What stops unpromising trials: `median`, those below the median of earlier trials."""

    name: Literal["median", "none"]
    startup_trials: NonNegativeInt
    """Number of complete trials before any is pruned."""
    warmup_epochs: NonNegativeInt
    """Epochs of a trial before it can be pruned."""


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
    def label(self) -> str:
        """The name of the metric in words."""
        return self.metric.replace("_", " ")

    def format(self, value: float) -> str:
        """A value of the metric: an accuracy in percent, a loss with four decimal places."""
        return f"{value:.2%}" if self.metric.endswith("accuracy") else f"{value:.4f}"


class Tune(Section):
    """The search."""

    seed: Seed
    trials: PositiveInt
    round_size: PositiveInt
    """Trials that are proposed together, without each other's results, and so can run in parallel.
    The number of workers is not a parameter."""
    epochs: PositiveInt
    threads: PositiveInt
    """Threads of each trial. Their number decides the order of sums, so it changes the result."""
    train_size: Size
    validation_size: PositiveInt
    objective: Objective
    sampler: Sampler
    pruner: Pruner
    hyperparameters: dict[str, Any]
    """Fixed in every trial."""
    search_space: Annotated[dict[str, Range], Field(min_length=1)]
    """Hyperparameters to tune, by name."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in self.search_space.keys() & self.hyperparameters.keys():
            raise ValueError(f"search_space.{name} is fixed in hyperparameters as well")
        return self


def check_networks(tune: Tune, network: str, form: Form) -> None:
    """Check that the network can be built at each extreme of the search space.

    Raises `ValueError` that names the extreme and the reason.
    """

    def check_at(tuned: dict[str, Any], where: str) -> None:
        try:
            parsed = hyperparameters.parse(tune.hyperparameters | tuned, network)
            check(network, parsed.config, form)
        except ValueError as error:
            raise ValueError(f"tune: {where}: {error}") from None

    ends = {name: extremes(range_) for name, range_ in tune.search_space.items()}
    lowest = {name: values[0] for name, values in ends.items()}
    check_at(lowest, "hyperparameters and search_space")
    for name, values in ends.items():
        for value in values:
            check_at(lowest | {name: value}, f"search_space.{name} at {value}")
    # Two can be valid alone and invalid together, as many convolutions and a large crop.
    highest = {name: values[-1] for name, values in ends.items()}
    check_at(highest, "search_space at its highest")
