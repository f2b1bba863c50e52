"""Every sampler and pruner of Optuna searches as in a plain sequential study of Optuna."""

import inspect
import re
import warnings
from concurrent.futures import ThreadPoolExecutor

from mnist_cnn.learning.training import Epoch
from mnist_cnn.search import algorithms, proposals
from mnist_cnn.search.space import suggest
from mnist_cnn.search.study import open_study

import optuna
import pytest
from studies import SerialExecutor, make_tune, run_search

SAMPLERS = {
    "BruteForceSampler": {},
    "CmaEsSampler": {"n_startup_trials": 3},
    "GPSampler": {"n_startup_trials": 4},
    "GridSampler": {},
    "NSGAIISampler": {"population_size": 4, "crossover": {"name": "BLXAlphaCrossover"}},
    "NSGAIIISampler": {"population_size": 4},
    "PartialFixedSampler": {
        "fixed_params": {"rotation": 10.0},
        "base_sampler": {"name": "TPESampler", "n_startup_trials": 3},
    },
    "QMCSampler": {"scramble": True},
    "RandomSampler": {},
    "TPESampler": {"n_startup_trials": 4},
}
PRUNERS = {
    "HyperbandPruner": {"reduction_factor": 2},
    "MedianPruner": {"n_startup_trials": 3, "n_warmup_steps": 2},
    "NopPruner": {},
    "PatientPruner": {
        "wrapped_pruner": {"name": "MedianPruner", "n_startup_trials": 2},
        "patience": 1,
    },
    "PercentilePruner": {"percentile": 60.0, "n_startup_trials": 2},
    "SuccessiveHalvingPruner": {"min_resource": 1, "reduction_factor": 2},
    "ThresholdPruner": {"lower": 0.02},
    "WilcoxonPruner": {"p_threshold": 0.4},
}
SPACE = {
    "rotation": {"type": "float", "low": 0.0, "high": 30.0, "step": 5.0},
    "batch_size": {"type": "categorical", "choices": [20, 50]},
    "n_fc_layers": {"type": "int", "low": 1, "high": 2},
}
SOME = {"batch_size": 20, "n_fc_layers": 1}
CONTINUOUS = {"learning_rate": {"type": "float", "low": 0.001, "high": 0.1, "log": True}}
FINITE = ("BruteForceSampler", "GridSampler")


def objective(hyperparameters, _seed, _epochs=None, _checkpoint=None):
    """Nine epochs, best at a rotation of 10 degrees; the curves of trials cross, with a dip."""
    distance = abs(hyperparameters["rotation"] - 10) / 30
    for epoch in range(1, 10):
        accuracy = (1 - distance) * (epoch / 9) ** (0.5 + hyperparameters["batch_size"] / 50)
        accuracy -= hyperparameters["n_fc_layers"] * hyperparameters.get("learning_rate", 0)
        accuracy -= 0.2 * (epoch in (4, 5))
        yield Epoch(epoch, 1.0, 0.5, 1 - accuracy, accuracy)


def lacking_a_batch_size(hyperparameters, *arguments):
    return objective({"batch_size": 20} | hyperparameters, *arguments)


def tune_with(sampler="TPESampler", pruner="MedianPruner", **changes):
    space = SPACE if sampler in FINITE else SPACE | CONTINUOUS
    return make_tune(
        **{
            "trials": 24,
            "epochs": 9,
            "lag": 1,
            "sampler": {"name": sampler} | SAMPLERS[sampler],
            "pruner": {"name": pruner} | PRUNERS[pruner],
            "search_space": space,
            **changes,
        }
    )


def plain_search(tune):
    """Hyperparameters and values of all epochs in a study that Optuna runs by itself.

    Its proposals are not rounded.
    """
    study = optuna.create_study(
        study_name="mnist-cnn",
        direction=tune.objective.direction,
        sampler=algorithms.sampler(tune.sampler, tune.seed, tune.search_space).sampler,
        pruner=algorithms.pruner(tune.pruner),
    )

    def run(trial):
        for epoch in objective(suggest(trial, tune.search_space, tune.hyperparameters), 0):
            trial.report(epoch.validation_accuracy, epoch.epoch)
            if epoch.epoch < tune.epochs and trial.should_prune():
                raise optuna.TrialPruned
        return epoch.validation_accuracy

    study.optimize(run, n_trials=tune.trials)
    return [
        (pytest.approx(trial.params, rel=1e-3), pytest.approx([*values.values()], rel=1e-3))
        for trial in study.trials
        for values in [trial.intermediate_values]
    ]


def table(trials):
    return [
        (trial.hyperparameters, [epoch.validation_accuracy for epoch in trial.history])
        for trial in trials
    ]


@pytest.fixture(autouse=True)
def _quiet():
    """Some samplers warn that they are experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def test_every_class_of_optuna_is_tested():
    for module, tested, base in (
        (optuna.samplers, SAMPLERS, optuna.samplers.BaseSampler),
        (optuna.pruners, PRUNERS, optuna.pruners.BasePruner),
    ):
        classes = inspect.getmembers(
            module, lambda each: inspect.isclass(each) and not inspect.isabstract(each)
        )
        assert {name for name, each in classes if issubclass(each, base)} == set(tested)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_proposes_as_in_a_sequential_study(name):
    tune = tune_with(name)
    assert table(run_search(tune, objective)) == plain_search(tune)


@pytest.mark.parametrize("name", PRUNERS)
def test_a_pruner_prunes_as_in_a_sequential_study(name):
    tune = tune_with(pruner=name)
    found = table(run_search(tune, objective))
    pruned = [values for _, values in found if len(values) < 9]
    assert bool(pruned) == (name != "NopPruner")


def interrupted(tune):
    """A study with 12 trials of an interrupted search."""
    study = open_study("interrupted", "sqlite://", "maximize")
    with pytest.raises(InterruptedError):
        run_search(tune, objective, study=study, executor=SerialExecutor(11 + tune.lag))
    assert len(study.get_trials()) == 12
    return study


@pytest.mark.parametrize("name", ["HyperbandPruner", "SuccessiveHalvingPruner"])
@pytest.mark.parametrize("threads", [1, 4])
def test_what_a_pruner_keeps_survives_a_restart(name, threads):
    tune = tune_with(pruner=name, lag=4)
    expected = table(run_search(tune, objective))
    with ThreadPoolExecutor(threads) as executor:
        continued = run_search(tune, objective, study=interrupted(tune), executor=executor)

    assert table(continued) == expected


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_goes_on_after_a_restart_as_it_was(name):
    tune = tune_with(name, lag=3)
    expected = table(run_search(tune, objective))
    assert table(run_search(tune, objective, study=interrupted(tune))) == expected


@pytest.mark.parametrize("name", FINITE)
@pytest.mark.parametrize("lag", [1, 4])
def test_a_grid_is_searched_once_and_then_the_search_ends(name, lag):
    found = [row for row, _ in table(run_search(tune_with(name, lag=lag, trials=40), objective))]
    assert len(found) == 7 * 2 * 2
    assert len({tuple(row.items()) for row in found}) == len(found)


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        ({"name": "tpe"}, "sampler.name: 'tpe' is unknown; there are BruteForceSampler, CmaEs"),
        ({}, "sampler.name: None is unknown"),
        ({"name": "TPESampler", "trials": 3}, "sampler: TPESampler: got an unexpected keyword"),
        ({"name": "TPESampler", "seed": 3}, "sampler.seed: it is tune.seed"),
        ({"name": "PartialFixedSampler"}, "sampler: PartialFixedSampler: missing 2 required"),
        ({"name": "GridSampler"}, "GridSampler takes no float without a step"),
        (
            {"name": "TPESampler", "n_ei_candidates": "24"},
            "n_ei_candidates: Input should be",
        ),
        ({"name": "TPESampler", "gamma": 5}, "gamma: Input should be callable (found 5)"),
        (
            {"name": "PartialFixedSampler", "fixed_params": {}, "base_sampler": "TPESampler"},
            "base_sampler: Input should be an instance of BaseSampler (found 'TPESampler')",
        ),
        (
            {"name": "PartialFixedSampler", "fixed_params": {"width": 3}},
            "sampler.fixed_params: width is not tuned",
        ),
        (
            {
                "name": "PartialFixedSampler",
                "fixed_params": {},
                "base_sampler": {"name": "BruteForceSampler"},
            },
            "sampler: BruteForceSampler cannot be part of PartialFixedSampler",
        ),
        (
            {"name": "PartialFixedSampler", "fixed_params": {}, "base_sampler": {"name": "none"}},
            "sampler.name: 'none' is unknown",
        ),
    ],
)
def test_a_wrong_sampler_is_refused(described, reason):
    with pytest.raises(ValueError, match=re.escape(reason)):
        algorithms.sampler(described, 0, make_tune().search_space)


def test_a_grid_with_conditions_is_searched_by_brute_force_alone():
    conditional = {"batch_size": SPACE["batch_size"] | {"only_if": {"n_fc_layers": 2}}}
    tune = tune_with("BruteForceSampler", search_space=SPACE | conditional, lag=4, trials=40)
    found = [row for row, _ in table(run_search(tune, lacking_a_batch_size))]
    assert len(found) == len({tuple(row.items()) for row in found}) == 7 + 7 * 2
    with pytest.raises(ValueError, match="GridSampler takes no only_if"):
        algorithms.sampler({"name": "GridSampler"}, 0, tune.search_space)


def test_a_grid_of_its_own_needs_no_steps():
    described = {"name": "GridSampler", "search_space": {"learning_rate": [0.01, 0.02]}}
    tune = make_tune(sampler=described, search_space=CONTINUOUS)
    found = run_search(tune, lambda *_: objective({"rotation": 0, **SOME}, 0))
    assert sorted(trial.hyperparameters["learning_rate"] for trial in found) == [0.01, 0.02]


def test_a_huge_grid_is_refused():
    space = {f"x{i}": SPACE["rotation"] for i in range(6)}
    with pytest.raises(ValueError, match="GridSampler: 117,649 combinations are more than 100,000"):
        algorithms.sampler({"name": "GridSampler"}, 0, make_tune(search_space=space).search_space)


def test_values_of_arguments_have_the_types_of_their_ranges():
    """A search that is continued reads 10.0 from its storage."""
    described = {"name": "PartialFixedSampler", "base_sampler": {"name": "RandomSampler"}}
    described["fixed_params"] = {"rotation": 10}
    tune = tune_with(trials=2).model_copy(update={"sampler": described})
    rotations = [trial.hyperparameters["rotation"] for trial in run_search(tune, objective)]
    assert list(map(repr, rotations)) == ["10.0", "10.0"]
    described["fixed_params"]["rotation"] = 40
    with pytest.raises(ValueError, match=r"^tune: rotation: 40.0 is not from 0.0 to 30.0$"):
        proposals.check(tune)


def test_a_sampler_that_cannot_propose_is_refused():
    """It takes no range without a step, which Optuna reports only then."""
    with pytest.raises(ValueError, match=r"^tune: .*step must be given for BruteForceSampler"):
        proposals.check(make_tune(sampler={"name": "BruteForceSampler"}))


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        ({"name": "median"}, "pruner.name: 'median' is unknown; there are HyperbandPruner, Median"),
        ({"name": "PercentilePruner"}, "pruner: PercentilePruner: missing 1 required"),
        ({"name": "HyperbandPruner", "reduction_factor": "3"}, "reduction_factor: Input should be"),
        ({"name": "PercentilePruner", "percentile": 200.0}, "pruner: PercentilePruner: Percentile"),
    ],
)
def test_a_wrong_pruner_is_refused(described, reason):
    with pytest.raises(ValueError, match=re.escape(reason)):
        algorithms.pruner(described)
