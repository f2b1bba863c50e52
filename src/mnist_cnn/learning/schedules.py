"""Learning rates over time, by name. To add one, write a class and name it in `SCHEDULES`."""

from typing import Annotated

from mnist_cnn.yaml_files import Section

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR


class Schedule(Section):
    """The base of all schedules."""

    def build(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """A scheduler that is stepped after each of `steps` batches.

        The learning rate of the optimiser is its highest.
        """
        raise NotImplementedError


class Constant(Schedule):
    """The same rate throughout."""

    def build(self, optimizer: Optimizer, steps: int) -> LRScheduler:  # noqa: ARG002
        """See `Schedule`."""
        return LambdaLR(optimizer, lambda _step: 1.0)


class Cosine(Schedule):
    """From the rate to 0 along half a cosine (Loshchilov and Hutter 2017), without restarts."""

    def build(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """See `Schedule`."""
        return CosineAnnealingLR(optimizer, steps)


class OneCycle(Schedule):
    """Up to the rate and down to almost 0 (Smith 2018).

    The momentum, or Adam's first beta, moves from 0.95 to 0.85 and back.
    """

    warm_up: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """The part of the steps in which the rate rises."""

    def build(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """See `Schedule`."""
        # One step more, because the last one follows the last batch.
        rates = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(optimizer, rates, total_steps=steps + 1, pct_start=self.warm_up)


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "cosine": Cosine,
    "one_cycle": OneCycle,
}
