"""The plots of a search of any size show all trials and finalists, the same each time."""

from dataclasses import replace

from mnist_cnn import files
from mnist_cnn.learning.training import Epoch
from mnist_cnn.search import plots
from mnist_cnn.search.finalists import Finalist, best
from mnist_cnn.search.study import study_of
from mnist_cnn.search.summary import ranked
from mnist_cnn.search.trial import Trial

import pytest
from studies import bowl, bowl_with_failures, make_tune, run_search

PLOTS = {"optimization_history", "slice", "learning_curves", "finalists"}
ROTATION = {"rotation": {"type": "float", "low": 0.0, "high": 30.0}}
LOSS = {"metric": "validation_loss", "direction": "minimize"}


def train(trial, *accuracies, epochs=5):
    """A finalist whose trainings, one for each accuracy, reach it in the last epoch."""
    trainings = []
    for accuracy in accuracies:
        history = tuple(
            Epoch(e, 2 * (1 - accuracy), accuracy / 2, 1 - accuracy, accuracy - (epochs - e) / 50)
            for e in range(1, epochs + 1)
        )
        trainings.append(Trial(trial.number, trial.hyperparameters, "complete", history, ()))
    return Finalist(trial, tuple(trainings))


def search(evaluate=bowl, **changes):
    """The parameters of a search, its trials, its finalists and the chosen one, the second."""
    tune = make_tune(**changes)
    trials = run_search(tune, evaluate)
    first, *others = ranked(trials, tune.objective)[:3]
    trained = [train(first, 0.97, 0.96), *(train(other, 0.98, 0.99) for other in others)]
    return tune, trials, trained, best(trained, tune.objective)


def points(axes, marker):
    """The points of all lines with this marker."""
    return [
        (float(x), float(y))
        for line in axes.get_lines()
        if line.get_marker() == marker
        for x, y in zip(*line.get_data(), strict=True)
    ]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("changes", [{}, {"objective": LOSS}], ids=["accuracy", "loss"])
@pytest.mark.parametrize("trials", [1, 2, 3, 50])
def test_a_search_of_any_size_has_every_plot(trials, changes, tmp_path):
    figures = plots.draw(*search(trials=trials, **changes))
    assert figures.keys() == PLOTS
    for name, figure in figures.items():
        files.write_png(tmp_path / name, figure)


def test_equal_results_give_equal_files(tmp_path):
    result = search(bowl_with_failures)
    for folder in ("first", "second"):
        for name, figure in plots.draw(*result).items():
            files.write_png(tmp_path / folder / name, figure)
    for name in PLOTS:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("trials", [1, 2, 12])
def test_the_page_is_interactive_without_a_network(trials):
    tune = make_tune(trials=trials)
    page = plots.page(study_of(run_search(tune), tune), "accuracy")
    assert page.count('class="plotly-graph-div"') == 6
    assert "<script src" not in page


def test_the_history_shows_every_trial_by_its_state():
    tune, trials, trained, chosen = search(bowl_with_failures)
    figure = plots.draw(tune, trials, trained, chosen)["optimization_history"]
    (axes,) = figure.axes

    def expected(state):
        return [
            (trial.number, trial.value)
            for trial in trials
            if trial.state == state and trial.number != chosen.trial.number
        ]

    assert expected("failed")
    assert expected("pruned")
    assert points(axes, "o") == expected("complete")
    assert points(axes, "v") == expected("pruned")
    assert points(axes, "D") == [(chosen.trial.number, chosen.trial.value)]
    assert [x for x, _ in points(axes, "x")] == [number for number, _ in expected("failed")]
    (so_far,) = (line for line in axes.get_lines() if line.get_label() == "best so far")
    assert so_far.get_xdata()[-1] == trials[-1].number
    values = [trial.value for trial in trials if trial.state == "complete"]
    assert list(so_far.get_ydata()) == [max(values[: i + 1]) for i in range(len(values))] + [
        max(values)
    ]
    assert f"chosen: trial {chosen.trial.number}" in legend(figure)
    low, high = axes.get_ylim()
    assert all(low < trial.value < high for trial in trials if trial.value is not None)


def test_slice_has_every_hyperparameter_over_its_range():
    tune, trials, trained, chosen = search()
    figure = plots.draw(tune, trials, trained, chosen)["slice"]
    batch_size, learning_rate, rotation, *unused = figure.axes
    assert not any(axes.axison for axes in unused)

    for axes, name in ((learning_rate, "learning_rate"), (rotation, "rotation")):
        assert axes.get_xlabel() == name
        shown = sorted(point for marker in "ovD" for point in points(axes, marker))
        assert shown == sorted((trial.hyperparameters[name], trial.value) for trial in trials)
        low, high = axes.get_xlim()
        assert low < tune.search_space[name].low
        assert high > tune.search_space[name].high
    assert learning_rate.get_xscale() == "log"
    assert [label.get_text() for label in batch_size.get_xticklabels()] == ["20", "50"]
    assert figure.get_supylabel().startswith("validation accuracy")


@pytest.mark.parametrize(
    ("range_", "ticks"),
    [
        ({"type": "int", "low": 12, "high": 16, "step": 4}, ["12", "16"]),
        ({"type": "int", "low": 2, "high": 2}, ["2"]),
        ({"type": "float", "low": 0.0, "high": 0.25, "step": 0.125}, ["0", "0.125", "0.25"]),
        ({"type": "categorical", "choices": ["adam", True, 0.5]}, ["adam", "True", "0.5"]),
        ({"type": "float", "low": 0.003, "high": 0.03, "log": True}, ["0.003", "0.01", "0.03"]),
    ],
)
def test_the_ticks_of_slice_are_possible_values(range_, ticks):
    tune, trials, trained, chosen = search(search_space=ROTATION, trials=3)
    values = range_.get("choices", [range_.get("high")])
    trials = [replace(trial, hyperparameters={"x": values[0]}) for trial in trials]
    space = make_tune(search_space={"x": range_}).search_space
    tune = tune.model_copy(update={"search_space": space})

    (axes,) = plots.draw(tune, trials, trained, chosen)["slice"].axes
    axes.figure.canvas.draw()
    low, high = axes.get_xlim()
    shown = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    assert [label.get_text() for tick, label in shown if low <= tick <= high] == ticks
    assert axes.get_xlabel() == "x"


def test_a_search_whose_conditions_are_never_met_has_no_slice():
    tune, trials, trained, chosen = search(search_space=ROTATION, trials=3)
    trials = [replace(trial, hyperparameters={}) for trial in trials]
    assert plots.draw(tune, trials, trained, chosen).keys() == PLOTS - {"slice"}


def test_learning_curves_are_those_of_the_trials_and_of_every_training():
    tune, trials, trained, chosen = search()
    figure = plots.draw(tune, trials, trained, chosen)["learning_curves"]
    of_trials, of_finalists = figure.axes
    for axes, shown in (
        (of_trials, trials),
        (of_finalists, [training for each in trained for training in each.trainings]),
    ):
        curves = [[epoch.validation_accuracy for epoch in trial.history] for trial in shown]
        drawn = [list(line.get_ydata()) for line in axes.get_lines()]
        assert drawn[: len(curves)] == curves
        assert axes.get_xticks()[0] == 1
        assert axes.get_xticks()[-1] == max(map(len, curves))
    on_training_images = [list(line.get_ydata()) for line in of_finalists.get_lines()[-2:]]
    assert on_training_images == [
        [epoch.train_accuracy for epoch in training.history] for training in chosen.trainings
    ]
    assert "chosen, on augmented training images" in legend(figure)


def test_trials_of_one_epoch_have_no_curves():
    def one_epoch(*args):
        yield next(bowl(*args))

    tune, trials, trained, chosen = search(one_epoch, epochs=1)
    (axes,) = plots.draw(tune, trials, trained, chosen)["learning_curves"].axes
    assert axes.get_title() == "finalists"


def test_finalists_have_their_values_and_standard_errors_and_the_chosen_one_is_marked():
    tune, trials, trained, chosen = search()
    failed = replace(trained[0], trainings=(replace(trials[0], state="failed"),))
    figure = plots.draw(tune, trials, [*trained, failed], chosen)["finalists"]
    (axes,) = figure.axes

    numbers = [each.trial.number for each in trained]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"trial {number}" for number in numbers
    ]
    means = [each.mean("validation_accuracy") for each in trained]
    assert [x for x, _ in points(axes, "D")] == [chosen.mean("validation_accuracy")]
    assert {x for x, _ in points(axes, "o")} == {
        *(each.trial.value for each in trained),
        *(mean for each, mean in zip(trained, means, strict=True) if each is not chosen),
    }
    seeds = [list(line.get_xdata()) for line in axes.get_lines() if line.get_markersize() == 12]
    assert seeds == [[0.97, 0.96], [0.98, 0.99], [0.98, 0.99]]
    intervals = {}
    for line, _, (bar,) in axes.containers:
        ((low, _), (high, _)) = bar.get_segments()[0]
        intervals[float(line.get_xdata()[0])] = (low, high)
    # Close to the usual standard error, sqrt(0.965 * 0.035 / 100).
    low, high = intervals[means[0]]
    assert high - low == pytest.approx(2 * 0.0184, rel=0.05)
    assert all(high <= 1 for mean, (_, high) in intervals.items() if mean <= 1)
    assert "chosen" in legend(figure)
    assert axes.get_xlabel() == "validation accuracy ± standard error (100 images)"


def test_a_loss_has_no_standard_error():
    figure = plots.draw(*search(objective=LOSS))["finalists"]
    (axes,) = figure.axes
    assert not any(bars for _, _, bars in axes.containers)
    assert axes.get_xlabel() == "validation loss (nats)"
