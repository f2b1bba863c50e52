"""The best trials, the summary and the tables of a study."""

from dataclasses import replace

from mnist_cnn.errors import UserError
from mnist_cnn.learning.training import Epoch
from mnist_cnn.search.params import Objective
from mnist_cnn.search.summary import epochs_table, ranked, summary, trials_table
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


def numbers(trials, objective=ACCURACY):
    return [trial.number for trial in ranked(trials, objective)]


def test_the_summary_counts_the_states():
    assert summary(TRIALS) == {"trials": 5, "complete": 3, "pruned": 1, "failed": 1}


@pytest.mark.parametrize("order", [1, -1])
def test_complete_trials_are_ranked_by_value_then_loss_then_number(order):
    assert numbers(TRIALS[::order]) == [2, 4, 0]
    better = replace(TRIALS[4], history=(replace(TRIALS[4].history[-1], validation_loss=0.1),))
    assert numbers([*TRIALS[:4], better][::order]) == [4, 2, 0]


def test_a_loss_is_best_where_it_is_lowest():
    loss = Objective(metric="train_loss", direction="minimize")
    worse = replace(TRIALS[0], history=(replace(TRIALS[0].history[-1], train_loss=2.0),))
    assert numbers([worse, *TRIALS[1:]], loss) == [2, 4, 0]


@pytest.mark.parametrize("trials", [[], [TRIALS[1], TRIALS[3]]], ids=["none", "others"])
def test_a_study_without_a_complete_trial_is_an_error(trials):
    with pytest.raises(UserError, match=r"^no trial is complete$"):
        ranked(trials, ACCURACY)


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
