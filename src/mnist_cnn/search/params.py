"""The section `tune` of `params.yaml`."""

from typing import Annotated, Any, Literal, Self

from mnist_cnn import yaml_files
from mnist_cnn.learning.params import MAX_TRAIN_SIZE, Hyperparameters, Seed, TrainSize
from mnist_cnn.search.space import Range, extremes
from mnist_cnn.yaml_files import Section

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError, model_validator


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
    train_size: TrainSize
    validation_size: TrainSize
    sampler: Sampler
    pruner: Pruner
    hyperparameters: dict[str, Any]
    """Fixed in every trial."""
    search_space: Annotated[dict[str, Range], Field(min_length=1)]
    """Hyperparameters to tune, by name."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check that every extreme of the search space is a valid network."""
        if self.train_size + self.validation_size > MAX_TRAIN_SIZE:
            raise ValueError(
                f"train_size and validation_size are {self.train_size} and {self.validation_size}, "
                f"but the training set has {MAX_TRAIN_SIZE:,} examples"
            )
        for name in self.search_space.keys() & self.hyperparameters.keys():
            raise ValueError(f"search_space.{name} is fixed in hyperparameters as well")
        ends = {name: extremes(range_) for name, range_ in self.search_space.items()}
        lowest = {name: values[0] for name, values in ends.items()}
        self._check_network(lowest, "hyperparameters and search_space")
        for name, values in ends.items():
            for value in values:
                self._check_network(lowest | {name: value}, f"search_space.{name} at {value}")
        # Two can be valid alone and invalid together, as many convolutions and a large crop.
        highest = {name: values[-1] for name, values in ends.items()}
        self._check_network(highest, "search_space at its highest")
        return self

    def _check_network(self, tuned: dict[str, Any], what: str) -> None:
        hyperparameters = self.hyperparameters | tuned
        try:
            Hyperparameters.model_validate(hyperparameters)
        except ValidationError as error:
            reason = yaml_files.describe(error, hyperparameters)
            raise ValueError(f"{what}: {reason}") from None
