"""What `params.yaml` may hold, and what a person is told of what it may not."""

from contextlib import suppress
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

from mnist_cnn import params
from mnist_cnn.errors import UserError
from mnist_cnn.params import FloatRange, Hyperparameters, IntRange

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

TEXT = (Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8")
SHIPPED = yaml.safe_load(TEXT)
NAN, INFINITY = float("nan"), float("inf")
REMOVED = object()


def change(changes):
    """The shipped parameters with other values at some paths."""
    content = deepcopy(SHIPPED)
    for path, value in changes.items():
        *sections, key = path.split(".")
        place = content
        for section in sections:
            place = place[section]
        if value is REMOVED:
            del place[key]
        else:
            place[key] = value
    return yaml.safe_dump(content)


@pytest.fixture
def load(tmp_path):
    """Load parameters from this text or these bytes."""

    def load(content):
        path = tmp_path / "params.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return params.load(path)

    return load


@pytest.fixture
def refusal(load, tmp_path):
    """What is said of this text or these bytes, after the name of the file."""

    def refusal(content):
        with pytest.raises(UserError) as caught:
            load(content)
        message = str(caught.value)
        start = f"{tmp_path / 'params.yaml'}: "
        assert message.startswith(start)
        assert message.isprintable()
        return message.removeprefix(start)

    return refusal


def test_the_shipped_parameters_load_and_nothing_is_dropped():
    loaded = params.load(Path(__file__).parents[1] / "params.yaml")
    assert loaded.model_dump(mode="json", exclude_unset=True) == SHIPPED


def test_ranges_are_read_by_their_type(load):
    ranges = load(TEXT).tune.search_space
    given = yaml.safe_load(TEXT)["tune"]["search_space"]
    assert ranges["n_conv_layers"] == IntRange(**given["n_conv_layers"])
    assert ranges["dropout"] == FloatRange(**given["dropout"])
    assert ranges["batch_size"].choices == tuple(given["batch_size"]["choices"])


def test_parameters_do_not_change_after_they_are_read(load):
    loaded = load(TEXT)
    with pytest.raises(ValidationError, match="frozen"):
        loaded.train.epochs = 3


SPACE = "tune.search_space"
FIXED = "tune.hyperparameters"
WIDE = {"type": "int", "low": 2, "high": 5}

BAD = [
    pytest.param({"extra": 3}, ["extra: ", "no such key", "(found 3)"], id="unknown section"),
    pytest.param(
        {"train.epoch": 3}, ["train.epoch: ", "no such key", "(found 3)"], id="unknown key"
    ),
    pytest.param(
        {f"{SPACE}.dropout.stp": 0.1},
        [f"{SPACE}.dropout.", "stp: ", "no such key", "(found 0.1)"],
        id="unknown key in a range",
    ),
    pytest.param(
        {f"{FIXED}.momentum": 0.9},
        ["tune", "hyperparameters", "momentum: ", "no such key", "(found 0.9)"],
        id="unknown hyperparameter",
    ),
    pytest.param(
        {f"{SPACE}.momentum": {"type": "int", "low": 3, "high": 4}},
        ["tune", "search_space", "momentum: ", "no such key", "(found 3)"],
        id="unknown hyperparameter searched",
    ),
    pytest.param({"train.epochs": REMOVED}, ["train.epochs: ", "missing"], id="missing key"),
    pytest.param({"evaluate": REMOVED}, ["evaluate: ", "missing"], id="missing section"),
    pytest.param(
        {"train": [1]}, ["train: ", "keys with values", "(found [1])"], id="list for section"
    ),
    pytest.param(
        {"tune.trials": "24"}, ["tune.trials: ", "integer", "(found '24')"], id="text for a number"
    ),
    pytest.param(
        {"tune.trials": 24.0}, ["tune.trials: ", "integer", "(found 24.0)"], id="24.0 for 24"
    ),
    pytest.param(
        {"tune.trials": True}, ["tune.trials: ", "integer", "(found True)"], id="yes for a number"
    ),
    pytest.param({"tune.trials": None}, ["tune.trials: ", "integer", "(found None)"], id="nothing"),
    pytest.param(
        {"tune.trials": 0}, ["tune.trials: ", "greater than 0", "(found 0)"], id="no trials"
    ),
    pytest.param(
        {"train.train_size": 60_001}, ["train.train_size: ", "60000"], id="more than there are"
    ),
    pytest.param(
        {"tune.validation_size": 5_001},
        ["tune: ", "55000 and 5001", "60,000"],
        id="more than there are, together",
    ),
    pytest.param(
        {f"{SPACE}.dropout": {"type": "float", "low": 0.0, "high": 0.35, "step": 0.1}},
        [f"{SPACE}.dropout: ", "steps of 0.1 from 0.0 do not meet 0.35"],
        id="a step that does not divide the range",
    ),
    pytest.param({"tune.seed": -1}, ["tune.seed: ", "equal to 0", "(found -1)"], id="seed below 0"),
    pytest.param(
        {"evaluate.confidence": 1.0},
        ["evaluate.confidence: ", "less than 1", "(found 1.0)"],
        id="certainty",
    ),
    pytest.param(
        {"tune.sampler.name": "grid"},
        ["tune.sampler.name: ", "'tpe' or 'random'", "(found 'grid')"],
        id="unknown sampler",
    ),
    pytest.param(
        {"download.dataset": "QMNIST"},
        ["download.dataset: ", "'MNIST', 'FashionMNIST' or 'KMNIST'", "(found 'QMNIST')"],
        id="unknown data set",
    ),
    pytest.param(
        {"download.sources": ["ftp"]},
        ["download.sources.0: ", "'folder', 'mirrors' or 'package_index'", "(found 'ftp')"],
        id="unknown source",
    ),
    pytest.param(
        {"download.sources": []}, ["download.sources: ", "at least 1", "(found [])"], id="no source"
    ),
    pytest.param(
        {"download.timeout": NAN}, ["download.timeout: ", "finite", "(found nan)"], id="NaN"
    ),
    pytest.param(
        {"download.timeout": INFINITY}, ["download.timeout: ", "finite", "(found inf)"], id="inf"
    ),
    pytest.param(
        {f"{FIXED}.rotation": NAN}, ["tune", "rotation: ", "finite", "(found nan)"], id="NaN fixed"
    ),
    pytest.param(
        {f"{FIXED}.rotation": "ten"},
        ["tune", "rotation: ", "number", "(found 'ten')"],
        id="text for a hyperparameter",
    ),
    pytest.param(
        {f"{SPACE}.dropout.low": NAN},
        [f"{SPACE}.dropout.", "low: ", "finite", "(found nan)"],
        id="NaN in a range",
    ),
    pytest.param({SPACE: {}}, [f"{SPACE}: ", "at least 1", "not 0"], id="empty search space"),
    pytest.param(
        {f"{SPACE}.batch_size.choices": []},
        [f"{SPACE}.batch_size.", "choices: ", "at least 1", "(found [])"],
        id="no choices",
    ),
    pytest.param(
        {f"{SPACE}.dropout.type": "real"},
        [f"{SPACE}.dropout", "'real'", "'int', 'float', 'categorical'"],
        id="unknown type of range",
    ),
    pytest.param(
        {f"{SPACE}.dropout.type": REMOVED}, [f"{SPACE}.dropout", "a type: int"], id="no type"
    ),
    pytest.param(
        {f"{SPACE}.dropout": 0.1},
        [f"{SPACE}.dropout: ", "keys with values", "(found 0.1)"],
        id="number for a range",
    ),
    pytest.param(
        {f"{SPACE}.dropout.low": 0.5, f"{SPACE}.dropout.high": 0.4},
        [f"{SPACE}.dropout", "low 0.5 is more than high 0.4"],
        id="low above high",
    ),
    pytest.param(
        {f"{SPACE}.learning_rate.low": 0},
        [f"{SPACE}.learning_rate", "low is 0.0", "logarithmic range starts above 0"],
        id="logarithmic from 0",
    ),
    pytest.param(
        {f"{SPACE}.learning_rate.step": 0.001},
        [f"{SPACE}.learning_rate", "logarithmic range has no step", "0.001"],
        id="logarithmic in steps",
    ),
    pytest.param(
        {f"{SPACE}.conv1_out_channels.log": True, f"{SPACE}.conv1_out_channels.step": 4},
        [f"{SPACE}.conv1_out_channels", "logarithmic range has no step", "4"],
        id="logarithmic whole numbers in steps",
    ),
    pytest.param(
        {f"{SPACE}.learning_rate.step": 1.0},
        [f"{SPACE}.learning_rate", "logarithmic range has no step", "1.0"],
        id="logarithmic in steps of 1.0",
    ),
    pytest.param(
        {f"{SPACE}.dropout.high": 1.0},
        ["tune", "search_space.dropout at 1.0", "less than 1", "(found 1.0)"],
        id="end of a range that no network has",
    ),
    pytest.param(
        {f"{SPACE}.conv1_out_channels.low": 0},
        ["tune", "conv1_out_channels is 0", "expected a whole number, 1 or more"],
        id="width 0",
    ),
    pytest.param(
        {f"{SPACE}.conv3_out_channels": {"type": "categorical", "choices": [64, 0]}},
        ["tune", "conv3_out_channels is 0", "expected a whole number, 1 or more"],
        id="width 0 of a layer that some trials have",
    ),
    pytest.param(
        {f"{FIXED}.fc2_out_features": "wide"},
        ["tune", "fc2_out_features", "'wide'"],
        id="width of a layer that no trial has",
    ),
    pytest.param(
        {
            f"{SPACE}.n_conv_layers": WIDE,
            f"{FIXED}.conv4_out_channels": 8,
            f"{FIXED}.conv5_out_channels": 8,
        },
        ["tune", "search_space.n_conv_layers at 5", "at most 4 convolutions"],
        id="five convolutions",
    ),
    pytest.param(
        {f"{SPACE}.conv3_out_channels": REMOVED},
        ["tune", "search_space.n_conv_layers at 3", "n_conv_layers is 3, expected 0 to 2"],
        id="missing width",
    ),
    pytest.param(
        {f"{SPACE}.conv1_out_channels": REMOVED},
        ["tune", "conv1_out_channels missing"],
        id="missing first width",
    ),
    pytest.param(
        {f"{SPACE}.n_conv_layers": {"type": "categorical", "choices": ["two"]}},
        ["tune", "n_conv_layers is 'two', expected 0 to 3"],
        id="text for a number of layers",
    ),
    pytest.param(
        {f"{FIXED}.dropout": 0.1},
        ["tune", "search_space.dropout is fixed in hyperparameters too"],
        id="fixed and searched",
    ),
    pytest.param(
        {f"{FIXED}.conv_layers": [8, 8]},
        ["tune", "conv_layers"],
        id="layers as a list",
    ),
    pytest.param(
        {f"{SPACE}.fc_layers": {"type": "int", "low": 7, "high": 9}},
        ["tune", "fc_layers"],
        id="layers as a range",
    ),
    pytest.param(
        {
            f"{SPACE}.n_conv_layers": {"type": "int", "low": 2, "high": 4},
            f"{SPACE}.crop": {"type": "int", "low": 0, "high": 9},
            FIXED: {"conv4_out_channels": 8},
        },
        ["tune", "search_space at its highest", "at most 3 convolutions"],
        id="crop and convolutions that are too much together",
    ),
    pytest.param(
        {"tune.seed": 2**64}, ["tune.seed: ", f"(found {2**64})"], id="seed no generator takes"
    ),
]


@pytest.mark.parametrize(("changes", "told"), BAD)
def test_a_bad_value_is_told_by_key_value_and_expectation(refusal, changes, told):
    message = refusal(change(changes))
    assert [part for part in told if part not in message] == []


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        pytest.param({f"{SPACE}.dropout.stp": 1}, f"{SPACE}.dropout.stp", id="in a range"),
        pytest.param({f"{SPACE}.dropout.low": "0"}, f"{SPACE}.dropout.low", id="end of a range"),
        pytest.param(
            {f"{SPACE}.dropout": {"type": "categorical", "choices": [0.1, NAN]}},
            f"{SPACE}.dropout.choices.1",
            id="choice",
        ),
    ],
)
def test_a_key_is_named_once_and_as_in_the_file(refusal, changes, path):
    message = refusal(change(changes))
    assert message.startswith(f"{path}: ")
    assert message.count(SPACE) == 1


def test_all_wrong_keys_are_named_at_once(refusal):
    message = refusal(change({"train.epochs": 0, "evaluate.test_size": "all", "extra": 1}))
    assert [clause.split(":")[0] for clause in message.split("; ")] == [
        "extra",  # what a mistyped key was meant to be is missing too
        "train.epochs",
        "evaluate.test_size",
    ]


def test_a_hundred_thousand_layers_are_refused_in_a_readable_message(refusal):
    message = refusal(change({f"{SPACE}.n_conv_layers.high": 100_000}))
    assert "search_space.n_conv_layers at 100000" in message
    assert len(message) < 1000


@pytest.mark.parametrize("key", ["two\nlines", "\x1b[31mred"], ids=["line end", "escape"])
def test_a_key_with_control_characters_is_told_in_one_plain_line(refusal, key):
    assert "no such key" in refusal(change({key: 1}))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("!!python/object/apply:os.getcwd []", id="call"),
        pytest.param("train: !!python/object:pathlib.Path {}", id="object"),
        pytest.param("train: !!python/name:os.getcwd", id="function"),
        pytest.param("train: !!python/tuple [1]", id="tuple"),
        pytest.param("train: {", id="unclosed"),
        pytest.param("train:\n\tepochs: 1", id="tab"),
        pytest.param("train: *other", id="unknown anchor"),
        pytest.param("train: 1\n---\ntrain: 2", id="two documents"),
        pytest.param("[" * 500, id="deep"),
        pytest.param("\0", id="zero byte"),
        pytest.param(b"train: \xff", id="not UTF-8"),
        pytest.param(TEXT.encode("utf-16"), id="UTF-16"),
        pytest.param("train: 2001-99-99", id="no such day"),
        pytest.param("train: 0x_", id="hexadecimal without digits"),
        pytest.param("train: " + "1" * 5000, id="5000 digits"),
        pytest.param("train: !!int one", id="number in letters"),
        pytest.param("train: !!bool perhaps", id="neither true nor false"),
        pytest.param("train: !!timestamp noon", id="no time"),
    ],
)
def test_what_is_not_plain_yaml_is_refused(refusal, content):
    assert refusal(content).startswith("not plain YAML (")


@pytest.mark.parametrize("content", ["", "# nothing", "[]", "train"])
def test_yaml_without_sections_is_refused(refusal, content):
    assert "keys with values" in refusal(content)


def test_a_missing_file_is_named_with_what_to_do(tmp_path):
    with pytest.raises(UserError, match="missing; run from the root of the project") as caught:
        params.load(tmp_path / "params.yaml")
    assert str(caught.value).startswith(f"{tmp_path / 'params.yaml'}: ")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(UserError) as caught:
        params.load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ")


def test_a_bomb_of_aliases_is_told_in_short(refusal):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghijkl")]
    assert len(refusal("\n".join(lines))) < 5000


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    """A file that is written anew for every example."""
    return tmp_path_factory.mktemp("fuzz") / "params.yaml"


def loads_or_is_refused(path, content):
    path.write_bytes(content)
    with suppress(UserError):
        assert isinstance(params.load(path), params.Params)


@given(content=st.binary() | st.text().map(str.encode))
def test_any_bytes_load_or_are_refused(fuzzed, content):
    loads_or_is_refused(fuzzed, content)


@given(
    start=st.integers(0, len(TEXT)),
    removed=st.integers(0, 40),
    inserted=st.text("{}[]:,&*!-#'\"|> \n\t01.enaftrue", max_size=5) | st.text(max_size=5),
)
def test_damaged_parameters_load_or_are_refused(fuzzed, start, removed, inserted):
    damaged = TEXT[:start] + inserted + TEXT[start + removed :]
    loads_or_is_refused(fuzzed, damaged.encode())


def leaves(content, prefix=""):
    for key, value in content.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 10_000) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(path=st.sampled_from(list(leaves(SHIPPED))), value=VALUES)
def test_any_value_of_any_key_loads_or_is_refused(fuzzed, path, value):
    loads_or_is_refused(fuzzed, change({path: value}).encode())


WIDTHS = {
    "conv2_out_channels": 20,
    "conv1_out_channels": 10,
    "fc1_out_features": 30,
    "fc2_out_features": 40,
}


def test_there_are_as_many_layers_as_widths_in_the_order_of_their_numbers():
    layers = Hyperparameters.model_validate(WIDTHS)
    assert layers.conv_layers == (10, 20)
    assert layers.fc_layers == (30, 40)


@pytest.mark.parametrize("convolutions", [0, 1, 2])
@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_the_first_layers_are_taken_where_their_number_is_given(convolutions, hidden):
    layers = Hyperparameters.model_validate(
        WIDTHS | {"n_conv_layers": convolutions, "n_fc_layers": hidden}
    )
    assert layers.conv_layers == (10, 20)[:convolutions]
    assert layers.fc_layers == (30, 40)[:hidden]


def test_ten_layers_are_in_the_order_of_their_numbers():
    widths = {f"fc{number}_out_features": number for number in range(10, 0, -1)}
    assert Hyperparameters.model_validate(widths).fc_layers == tuple(range(1, 11))


def test_a_network_without_widths_has_no_layers():
    layers = Hyperparameters.model_validate({"learning_rate": 0.5})
    assert (layers.conv_layers, layers.fc_layers, layers.learning_rate) == ((), (), 0.5)


@pytest.mark.parametrize(
    ("flat", "reason"),
    [
        pytest.param(
            {"n_conv_layers": 3}, "n_conv_layers is 3, expected 0 to 2", id="more than known"
        ),
        pytest.param({"n_fc_layers": 4}, "n_fc_layers is 4, expected 0 to 2", id="two more"),
        pytest.param({"fc4_out_features": 1}, "fc3_out_features missing", id="gap"),
        pytest.param({"fc1_out_channels": 1}, "missing|permitted", id="channels of a linear layer"),
        pytest.param({"conv0_out_channels": 1}, "conv0_out_channels", id="layer 0"),
        pytest.param({"n_conv_layers": -1}, "n_conv_layers is -1, expected", id="fewer than none"),
        pytest.param({"n_conv_layers": 1.0}, r"n_conv_layers is 1\.0, expected", id="1.0 for 1"),
        pytest.param({"n_conv_layers": True}, "n_conv_layers is True, expected", id="yes"),
        pytest.param(
            {"conv3_out_channels": 1, "conv4_out_channels": 1, "conv5_out_channels": 1},
            "at most 4 convolutions",
            id="five convolutions",
        ),
        pytest.param(
            {"conv3_out_channels": 1, "conv4_out_channels": 1, "crop": 7},
            "at most 3 convolutions, as each halves the 14 pixels",
            id="four convolutions of a cropped image",
        ),
        pytest.param({"conv1_out_channels": 0}, "is 0, expected", id="width 0"),
        pytest.param({"conv1_out_channels": 8.0}, "is 8.0, expected", id="width 8.0"),
        pytest.param({"dropout": 1.0}, "less than 1", id="everything dropped"),
        pytest.param({"rotation": 181}, "less than or equal to 180", id="beyond half a turn"),
        pytest.param({"translation": 1.0}, "less than 1", id="out of the image"),
        pytest.param({"learning_rate": 0.0}, "greater than 0", id="no learning"),
        pytest.param({"weight_decay": -0.1}, "greater than or equal to 0", id="weight growth"),
        pytest.param({"batch_size": 0}, "greater than 0", id="empty batch"),
        pytest.param({"optimizer": "lion"}, "'adam', 'adamw' or 'sgd'", id="unknown optimizer"),
        pytest.param({"momentum": 0.9}, "not permitted", id="unknown key"),
    ],
)
def test_impossible_hyperparameters_are_refused(flat, reason):
    with pytest.raises(ValidationError, match=reason):
        Hyperparameters.model_validate(WIDTHS | flat)
