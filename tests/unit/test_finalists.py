"""The best trials are trained at full length, and the best of these is chosen."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from mnist_cnn.errors import FailedJobError
from mnist_cnn.learning import calibration, data
from mnist_cnn.learning.training import Epoch
from mnist_cnn.search import finalists
from mnist_cnn.search.finalists import Finalist
from mnist_cnn.search.params import Objective
from mnist_cnn.search.summary import ranked
from mnist_cnn.search.trial import Trial

import pytest
import torch
from described import FORM
from small_networks import objective as network_objective
from studies import SerialExecutor, bowl, bowl_without_memory, make_tune, run_search

ACCURACY = make_tune().objective
LOSS = Objective(metric="validation_loss", direction="minimize")


@pytest.fixture(scope="module")
def trials():
    return run_search()


def train(trials, folder, objective=bowl, executor=None):
    # This pruner would stop every training after its first epoch.
    pruner = {"name": "ThresholdPruner", "lower": 2.0}
    tune = finalists.at_full_length(make_tune(pruner=pruner), epochs=3)
    return list(finalists.train(tune, objective, trials, executor or SerialExecutor(), folder))


def without_times(trained):
    return [
        replace(each, trainings=tuple(replace(t, times=()) for t in each.trainings))
        for each in trained
    ]


def test_the_best_trials_are_trained_under_the_same_seeds_and_not_pruned(trials, tmp_path):
    seeds = []

    def objective(hyperparameters, seed, epochs, checkpoint):
        seeds.append(seed)
        assert checkpoint.parent == tmp_path
        yield from bowl({**hyperparameters, "rotation": 30.0}, seed, epochs, checkpoint)

    trained = train(trials, tmp_path, objective)
    assert [each.trial for each in trained] == ranked(trials, ACCURACY)[:3]
    assert seeds == seeds[:2] * 3
    assert len(set(seeds)) == 2
    assert {t.state for each in trained for t in each.trainings} == {"complete"}
    assert [t.number for t in trained[0].trainings] == [trained[0].trial.number] * 2


def test_there_are_fewer_finalists_if_fewer_trials_are_complete(trials, tmp_path):
    complete = ranked(trials, ACCURACY)[0]
    pruned = [replace(trial, state="pruned") for trial in trials if trial is not complete]
    assert [each.trial for each in train([complete, *pruned], tmp_path)] == [complete]


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_the_number_of_workers_has_no_effect(trials, tmp_path, threads):
    with ThreadPoolExecutor(threads) as executor:
        trained = train(trials, tmp_path, executor=executor)
    assert without_times(trained) == without_times(train(trials, tmp_path))


def test_a_training_that_lacked_memory_is_run_again_alone(trials, tmp_path):
    trained = train(trials, tmp_path, bowl_without_memory)
    assert without_times(trained) == without_times(train(trials, tmp_path))


def finalist(number, *results, trial_value=0.9):
    """A finalist with an accuracy and a loss for each seed; None for a training that failed."""
    trainings = [
        Trial(number, {}, "complete", (Epoch(1, 1.0, 0.5, result[1], result[0]),), (), result[0])
        if result
        else Trial(number, {}, "failed", (), (), None, "Traceback\nDivergedError: epoch 2")
        for result in results
    ]
    history = (Epoch(1, 1.0, 0.5, 0.5, trial_value),)
    return Finalist(Trial(number, {}, "complete", history, (), trial_value), tuple(trainings))


@pytest.mark.parametrize(
    ("others", "objective", "best"),
    [
        # The mean over seeds counts, not the best seed; nor the value of the trial.
        ([finalist(1, (0.97, 0.1), (0.90, 0.1), trial_value=1.0)], ACCURACY, 5),
        ([finalist(1, (0.96, 0.1), (0.94, 0.1))], ACCURACY, 1),  # as accurate, a lower loss
        ([finalist(1, (0.96, 0.2), (0.94, 0.2))], ACCURACY, 1),  # equal: the first trial
        ([finalist(9, (0.96, 0.2), (0.94, 0.2))], ACCURACY, 5),
        ([finalist(1, (0.99, 0.1), None)], ACCURACY, 5),  # it may fail again
        ([finalist(9, (0.90, 0.1), (0.90, 0.1))], LOSS, 9),
    ],
)
def test_the_best_finalist_has_the_best_mean_then_the_lowest_loss(others, objective, best):
    trained = [finalist(5, (0.95, 0.2), (0.95, 0.2)), *others]
    for order in (trained, trained[::-1]):
        assert finalists.best(order, objective).trial.number == best


def test_ties_that_the_loss_broke_are_found():
    best = finalist(5, (0.95, 0.2))
    trained = [best, finalist(1, (0.95, 0.3)), finalist(2, (0.95, 0.2)), finalist(3, (0.9, 0.3))]
    trained.append(finalist(4, None))
    assert [each.trial.number for each in finalists.tied(trained, best, ACCURACY)] == [1]
    assert finalists.tied(trained, best, LOSS) == []


def test_means_that_differ_by_rounding_only_are_equal():
    trained = [finalist(5, (0.9401, 0.2), (0.9401, 0.2)), finalist(9, (0.9402, 0.1), (0.94, 0.1))]
    assert trained[0].mean(ACCURACY.metric) > trained[1].mean(ACCURACY.metric)
    assert finalists.best(trained, ACCURACY).trial.number == 9


def test_it_is_an_error_if_every_finalist_failed():
    trained = [finalist(3, None, (0.9, 0.1))]
    assert trained[0].describe(ACCURACY) == (
        "trial   3 at full length: failed (DivergedError: epoch 2)"
    )
    with pytest.raises(FailedJobError, match="every finalist failed, the first one with: Diverged"):
        finalists.best(trained, ACCURACY)


def test_the_summary_and_the_table_have_means_and_every_epoch():
    trained = [finalist(5, (0.95, 0.25), (0.96, 0.75)), finalist(2, (0.9, 0.1), None)]
    assert finalists.summary(trained[0], ACCURACY) == {
        "best_trial": 5,
        "validation_accuracy": pytest.approx(0.955),
        "validation_loss": 0.5,
    }
    rows = finalists.table(trained)
    assert [(row["number"], row["seed"], row["validation_loss"]) for row in rows] == [
        (5, 0, 0.25),
        (5, 1, 0.75),
        (2, 0, 0.1),
    ]
    assert trained[0].describe(ACCURACY) == (
        "trial   5 at full length, 1 epoch: 95.50%, loss 0.5000"
    )


def test_predictions_are_those_of_the_trained_networks_also_after_a_kill(real_train, tmp_path):
    train_set, validation = data.subset(real_train, (100, 50), seed=0)
    tune = make_tune(
        trials=2,
        epochs=1,
        finalists={"trials": 1, "seeds": 2},
        search_space={"learning_rate": {"type": "float", "low": 0.01, "high": 0.02}},
    )
    full_length = finalists.at_full_length(tune, epochs=2)
    trials = run_search(tune, network_objective(tune, train_set, validation))
    results = []
    for _ in range(2):  # the second time from the checkpoints
        (best,) = finalists.train(
            full_length,
            network_objective(full_length, train_set, validation),
            trials,
            SerialExecutor(),
            tmp_path,
        )
        cpu = torch.device("cpu")
        networks = finalists.networks(best, tune, "deep_cnn", FORM, cpu, tmp_path)
        rows = finalists.predictions(networks, validation, cpu)
        fitted = finalists.calibrate(networks, train_set, validation, rejected=0.1)
        results.append((without_times([best]), rows, fitted))
    assert results[0] == results[1]

    assert len(best.trainings[0].history) == 2
    assert [row["label"] for row in rows] == validation.labels.tolist()
    assert len({row["image"] for row in rows}) == 50
    for seed, training in enumerate(best.trainings):
        correct = sum(row[f"seed_{seed}"] == row["label"] for row in rows)
        assert correct / 50 == training.history[-1].validation_accuracy
    # The means over the seeds.
    detectors = [calibration.fit_detector(network, train_set) for network in networks]
    thresholds = [
        calibration.fit_threshold(network, detector, validation.images, 0.1)
        for network, detector in zip(networks, detectors, strict=True)
    ]
    assert fitted["threshold"] == pytest.approx(sum(thresholds) / 2)
    temperatures = [calibration.fit_temperature(network, validation) for network in networks]
    assert fitted["temperature"] == pytest.approx(sum(temperatures) / 2)
