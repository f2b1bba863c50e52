"""The best trial, the summary and the tables of a study."""

from mnist_cnn.errors import UserError
from mnist_cnn.learning.training import Epoch
from mnist_cnn.search.params import Objective
from mnist_cnn.search.summary import best, epochs_table, summary, trials_table
from mnist_cnn.search.trial import Trial

import pytest


def make_trial(number, state, *accuracies):
    history = (Epoch(n, 1.0, 0.5, 0.25, accuracy) for n, accuracy in enumerate(accuracies, 1))
    value = accuracies[-1] if accuracies else None
    return Trial(number, {"rotation": 5.0}, state, tuple(history), (0.0, 1.0), value)


ACCURACY = Objective(metric="validation_accuracy", direction="maximize")


TRIALS = [
    make_trial(0, "complete", 0.95, 0.8),  # only the last epoch counts
    make_trial(1, "pruned", 0.99),
    make_trial(2, "complete", 0.7, 0.9),
    make_trial(3, "failed"),
    make_trial(4, "complete", 0.7, 0.9),
]


def test_the_summary_counts_the_states_and_has_the_metrics_of_the_best_trial():
    assert summary(TRIALS, ACCURACY) == {
        "trials": 5,
        "complete": 3,
        "pruned": 1,
        "failed": 1,
        "best_trial": 2,
        "validation_accuracy": 0.9,
        "validation_loss": 0.25,
    }


@pytest.mark.parametrize("order", [1, -1])
def test_the_best_of_equal_trials_is_the_first(order):
    assert best(TRIALS[::order], ACCURACY).number == 2


def test_a_loss_is_best_where_it_is_lowest():
    loss = Objective(metric="validation_loss", direction="minimize")
    assert best(TRIALS, loss).number == 0
    training = Objective(metric="train_loss", direction="minimize")
    assert summary(TRIALS, training)["train_loss"] == 1.0


@pytest.mark.parametrize("trials", [[], [TRIALS[1], TRIALS[3]]], ids=["none", "others"])
def test_a_study_without_a_complete_trial_is_an_error(trials):
    with pytest.raises(UserError, match=r"^no trial is complete$"):
        summary(trials, ACCURACY)


def test_the_tables_have_a_row_for_each_trial_and_for_each_epoch():
    first, second = epochs_table(TRIALS[2:4])
    assert second == {
        "number": 2,
        "epoch": 2,
        "train_loss": 1.0,
        "train_accuracy": 0.5,
        "validation_loss": 0.25,
        "validation_accuracy": 0.9,
    }
    assert first == second | {"epoch": 1, "validation_accuracy": 0.7}
    assert trials_table(TRIALS[2:4]) == [
        second | {"state": "complete", "rotation": 5.0},
        {"number": 3, "state": "failed", "rotation": 5.0},
    ]
