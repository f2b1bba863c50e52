"""The sections of `params.yaml` and the search space: what is accepted, and why not."""

from contextlib import suppress
from copy import deepcopy

from mnist_cnn import networks, params, yaml_files
from mnist_cnn.errors import UserError
from mnist_cnn.search.space import suggest

import optuna
import pytest
import yaml
from clone import PARAMS, PARAMS_FILE, ROOT
from dvc.utils.hydra import apply_overrides
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

TEXT = PARAMS_FILE.read_text(encoding="utf-8")
SPACE = "tune.search_space"
FIXED = "tune.hyperparameters"
NAN = float("nan")
NETWORKS = ", ".join(networks.names())
REMOVED = object()


def change(changes):
    """The parameters of the tests with other values at some paths."""
    content = deepcopy(PARAMS)
    for path, value in changes.items():
        *sections, key = path.split(".")
        section = content
        for name in sections:
            section = section[name]
        if value is REMOVED:
            del section[key]
        else:
            section[key] = value
    return yaml.safe_dump(content, sort_keys=False)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A file that each test overwrites."""
    return tmp_path_factory.mktemp("params") / "params.yaml"


def rejection(path, changes):
    """The reason, in one line, why changed parameters are rejected."""
    path.write_text(change(changes))
    with pytest.raises(UserError) as caught:
        params.load(path)
    message = str(caught.value).removeprefix(f"{path}: ")
    assert message.isprintable()
    return message


@pytest.mark.parametrize("path", [ROOT / "params.yaml", PARAMS_FILE], ids=["project", "tests"])
def test_parameters_are_loaded_completely(path):
    loaded = params.load(path)
    assert loaded.model_dump(mode="json", exclude_unset=True) == yaml_files.read(path)


def test_a_search_space_is_that_of_optuna_in_order_of_name(path):
    ranges = {
        "dropout": {"type": "float", "low": 0, "high": 0.3, "step": 0.1},
        "learning_rate": {"type": "float", "low": 0.003, "high": 0.03, "log": True},
        "conv1_out_channels": {"type": "int", "low": 12, "high": 16, "step": 4},
        "batch_size": {"type": "categorical", "choices": [128, 256]},
    }
    path.write_text(change({SPACE: ranges}))
    space = params.load(path).tune.search_space
    trial = optuna.create_study().ask()
    suggest(trial, space, {})
    assert [*trial.distributions.items()] == [
        ("batch_size", CategoricalDistribution((128, 256))),
        ("conv1_out_channels", IntDistribution(12, 16, step=4)),
        ("dropout", FloatDistribution(0.0, 0.3, step=0.1)),
        ("learning_rate", FloatDistribution(0.003, 0.03, log=True)),
    ]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("extra", 3, "Extra inputs are not permitted (found 3)"),
        ("train.epoch", 3, "Extra inputs are not permitted (found 3)"),
        ("train.epochs", REMOVED, "Field required"),
        ("evaluate", REMOVED, "Field required"),
        ("compute.arithmetic", "fast", "Input should be 'portable' or 'native' (found 'fast')"),
        (
            "compute",
            {"arithmetic": "portable", "device": "cpu", "precision": "bfloat16"},
            "precision bfloat16 needs device cuda or auto",
        ),
        ("download.dataset", 9, "Input should be a valid string (found 9)"),
        (
            "download.sources",
            [],
            "Tuple should have at least 1 item after validation, not 0 (found [])",
        ),
        ("download.timeout", 0, "Input should be greater than 0 (found 0)"),
        ("tune.trials", 0, "Input should be greater than 0 (found 0)"),
        ("tune.seed", -1, "Input should be greater than or equal to 0 (found -1)"),
        ("tune.seed", 2**64, f"Input should be less than {2**64} (found {2**64})"),
        (
            "tune.objective",
            {"metric": "validation_loss", "direction": "maximize"},
            "maximize validation_loss would keep the worst trial",
        ),
        (
            "model.network",
            "resnet",
            f"network 'resnet' is unknown; there are {NETWORKS} (found 'resnet')",
        ),
        ("train.train_size", 0, "expected a whole number, 1 or more, or all (found 0)"),
        ("evaluate.test_size", "most", "expected a whole number, 1 or more, or all (found 'most')"),
        ("evaluate.confidence", 1.0, "Input should be less than 1 (found 1.0)"),
        (
            "tune.objective",
            ["validation_accuracy", "validation_loss"],
            "Input should be a valid dictionary or instance of Objective (found "
            "['validation_accuracy', 'validation_loss'])",
        ),
        (SPACE, {}, "Dictionary should have at least 1 item after validation, not 0"),
    ],
)
def test_a_wrong_value_is_rejected_with_its_key_and_the_reason(path, key, value, reason):
    assert rejection(path, {key: value}) == f"{key}: {reason}"


def test_an_unknown_source_is_rejected_with_its_position(path):
    message = rejection(path, {"download.sources": ["folder", "ftp"]})
    assert message.startswith("download.sources.1: Input should be 'folder', 'mirrors' or ")


def test_a_data_set_that_is_not_described_is_rejected(path):
    assert rejection(path, {"download.dataset": "Cats"}).startswith("datasets/Cats.yaml: missing")
    assert "match pattern" in rejection(path, {"download.dataset": "../params"})


def test_all_examples_can_be_used(path):
    path.write_text(change({"train.train_size": "all", "evaluate.test_size": "all"}))
    assert params.load(path).train.train_size == "all"


@pytest.mark.parametrize("key", ["two\nlines", "\x1b[31mred"])
def test_control_characters_in_a_key_are_not_printed(path, key):
    assert "Extra inputs are not permitted" in rejection(path, {key: 1})


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("dropout", {"stp": 1}, "Extra inputs are not permitted (found 1)"),
        ("dropout", {"low": NAN}, "Input should be a finite number (found nan)"),
        ("dropout", {"type": "real"}, "'real' found using 'type' does not match any of"),
        ("dropout", {"low": 0.5, "high": 0.4}, "low 0.5 is more than high 0.4"),
        ("dropout", {"step": 0.1, "high": 0.35}, "steps of 0.1 from 0.0 do not reach 0.35"),
        ("batch_size", {"choices": []}, "should have at least 1 item"),
        ("batch_size", {"choices": [64, 64]}, "two choices are equal"),
        ("batch_size", {"choices": [64, NAN]}, "expected a finite number, a string, true or false"),
        ("learning_rate", {"low": 0}, "low is 0.0, but a logarithmic range starts above 0"),
        ("learning_rate", {"step": 1.0}, "step is 1.0, but a logarithmic range has no step"),
        ("conv1_out_channels", {"log": True}, "step is 4, but a logarithmic range has no step"),
    ],
)
def test_an_impossible_range_is_rejected(path, name, changes, reason):
    message = rejection(path, {f"{SPACE}.{name}.{key}": value for key, value in changes.items()})
    assert message.startswith(f"{SPACE}.{name}")
    assert "float" not in message.split(":")[0]
    assert reason in message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {f"{FIXED}.dropout": 0.1},
            "search_space.dropout is fixed in hyperparameters as well",
        ),
        (
            {f"{FIXED}.rotation": "ten"},
            "hyperparameters and search_space: rotation: Input should be a valid number "
            "(found 'ten')",
        ),
        (
            {f"{FIXED}.fc2_out_features": "wide"},
            "hyperparameters and search_space: fc2_out_features is 'wide', expected a whole "
            "number, 1 or more",
        ),
        (
            {f"{SPACE}.momentum": {"type": "int", "low": 3, "high": 4}},
            "hyperparameters and search_space: momentum: Extra inputs are not permitted (found 3); "
            "the parts are network deep_cnn, optimizer adamw, schedule one_cycle, augmentation "
            "affine",
        ),
        (
            {f"{SPACE}.conv1_out_channels": REMOVED},
            "hyperparameters and search_space: conv1_out_channels missing before "
            "conv2_out_channels",
        ),
        (
            {f"{SPACE}.dropout.high": 1.0, f"{SPACE}.dropout.step": 0.5},
            "search_space.dropout at 1.0: dropout: Input should be less than 1 (found 1.0)",
        ),
        (
            {f"{SPACE}.conv3_out_channels": {"type": "categorical", "choices": [64, 0]}},
            "search_space.conv3_out_channels at 0: conv3_out_channels is 0, expected a whole "
            "number, 1 or more",
        ),
        (
            {f"{SPACE}.n_conv_layers.high": 100_000},
            "search_space.n_conv_layers at 100000: n_conv_layers is 100000, expected 0 to 2, the "
            "number of widths",
        ),
        (
            {f"{SPACE}.conv3_out_channels.only_if": {"n_layers": 3}},
            "search_space.conv3_out_channels.only_if: n_layers is neither fixed nor tuned",
        ),
        (
            {f"{SPACE}.fc1_out_features.only_if": {"n_fc_layers": 2}},
            "search_space.fc1_out_features: its only_if is never met",
        ),
        (
            {f"{SPACE}.dropout.only_if": {"crop": [1, 3]}},
            "search_space.dropout: its only_if is never met",
        ),
        (
            {
                f"{SPACE}.n_fc_layers.only_if": {"dropout": 0.0},
                f"{SPACE}.dropout.only_if": {"n_fc_layers": 1},
            },
            "search_space: conditions in a circle: dropout, n_fc_layers, dropout",
        ),
        (
            {"tune.sampler": {"name": "tpe"}},
            "sampler.name: 'tpe' is unknown; there are BruteForceSampler, CmaEsSampler, GPSampler, "
            "GridSampler, NSGAIIISampler, NSGAIISampler, PartialFixedSampler, QMCSampler, "
            "RandomSampler, TPESampler",
        ),
        (
            {
                f"{SPACE}.n_conv_layers.high": 4,
                f"{SPACE}.conv3_out_channels.only_if": {"n_conv_layers": [3, 4]},
                f"{SPACE}.conv4_out_channels": {
                    "type": "int",
                    "low": 8,
                    "high": 16,
                    "only_if": {"n_conv_layers": 4},
                },
                f"{SPACE}.crop": {"type": "int", "low": 0, "high": 9},
                f"{FIXED}.crop": REMOVED,
            },
            "search_space at its highest: at most 3 convolutions, as each halves the 10 pixels",
        ),
    ],
)
def test_a_search_space_with_an_impossible_network_is_rejected(path, changes, reason):
    assert rejection(path, changes) == f"tune: {reason}"


def loads_or_is_rejected(path, content):
    path.write_text(content)
    with suppress(UserError):
        params.load(path)


@given(
    start=st.integers(0, len(TEXT)),
    removed=st.integers(0, 40),
    inserted=st.text("{}[]:,&*!-#'\"|> \n\t01.enaftrue", max_size=5) | st.text(max_size=5),
)
def test_damaged_parameters_load_or_are_rejected(path, start, removed, inserted):
    loads_or_is_rejected(path, TEXT[:start] + inserted + TEXT[start + removed :])


def keys(content, prefix=""):
    """The dotted paths of all keys."""
    for key, value in content.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 10_000) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from([*keys(PARAMS)]), VALUES)
def test_parameters_with_any_value_load_or_are_rejected(path, key, value):
    loads_or_is_rejected(path, change({key: value}))


def test_an_experiment_changes_one_line_of_parameters_in_the_form_of_dvc(path):
    path.write_text(TEXT)
    apply_overrides(path, ["tune.trials=7"])  # as `dvc exp run --set-param`
    before, after = TEXT.splitlines(), path.read_text().splitlines()
    assert len(before) == len(after)
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert changed == [("  trials: 6", "  trials: 7")]
