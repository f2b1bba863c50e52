"""The network computes its definition; its file restores it, and other files are rejected."""

import io
import math
import pickle
from pathlib import Path

from mnist_cnn.datasets.description import Form
from mnist_cnn.errors import UserError
from mnist_cnn.learning import model

import pytest
import torch
from clone import ROOT
from described import DESCRIPTIONS, FORM, MNIST
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_networks import deep_cnn
from torch.nn import functional as F

ARTICLE = [88, 237], [389]  # the best network of the article that this project began with


def make_network(conv_layers, fc_layers, **options):
    torch.manual_seed(0)
    return deep_cnn(conv_layers, fc_layers, **options)


def metadata_of(network):
    """A data set of the form of a network."""
    _, height, width, classes = network.form
    form = {"height": height, "width": width, "classes": tuple(map(str, range(classes)))}
    return MNIST.metadata().model_copy(update={"object": None} | form)


def make_images(count, size=28, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, size, size), generator=generator, dtype=torch.uint8)


def make_used_network():
    """A network with dropout, in training mode, whose batch normalisation has seen images."""
    network = make_network([2], [3], batch_norm=True, dropout=0.3).train()
    for seed in range(10):
        network(make_images(20, seed=seed))
    return network


def is_unchanged(network, state):
    return all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def copy_state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


@settings(max_examples=30)
@example(*ARTICLE)
@example([5], [])
@example([], [7])
@example([], [])
@given(
    conv_layers=st.lists(st.integers(1, 9), max_size=4),
    fc_layers=st.lists(st.integers(1, 9), max_size=6),
)
def test_the_network_computes_the_logits_of_its_definition(conv_layers, fc_layers):
    """In double precision, with ReLU before pooling and pixels normalised to -1 … 1."""
    network = make_network(conv_layers, fc_layers)
    parameters = [value.detach().double() for value in network.parameters()]
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))
    shapes = [tuple(weight.shape) for weight, _ in layers]
    assert [shape[0] for shape in shapes] == [*conv_layers, *fc_layers, 10]
    assert {shape[2:] for shape in shapes[: len(conv_layers)]} <= {(3, 3)}

    x = (make_images(3).double() / 255 - 0.5) / 0.5
    for weight, bias in layers[: len(conv_layers)]:
        x = F.max_pool2d(F.conv2d(x, weight, bias, padding=1).relu(), 2)
    x = x.flatten(1)
    *hidden, (weight, bias) = layers[len(conv_layers) :]
    for hidden_weight, hidden_bias in hidden:
        x = F.linear(x, hidden_weight, hidden_bias).relu()
    expected = F.linear(x, weight, bias)

    with torch.no_grad():
        logits = network(make_images(3)).double()
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-6)


def test_the_network_of_the_article_has_its_number_of_parameters():
    assert sum(weights.numel() for weights in deep_cnn(*ARTICLE).parameters()) == 4_710_567


@pytest.mark.parametrize(
    ("convolutions", "size", "crop"), [(4, 28, 0), (3, 8, 0), (3, 15, 0), (0, 1, 0), (3, 28, 10)]
)
def test_as_many_poolings_as_the_image_allows_are_accepted(convolutions, size, crop):
    form = Form(channels=1, height=size, width=size, classes=4)
    network = deep_cnn([2] * convolutions, [3], form, crop=crop)
    assert network(make_images(2, size)).shape == (2, 4)


@pytest.mark.parametrize(
    ("convolutions", "options", "reason"),
    [
        (5, {}, "at most 4 convolutions, as each halves the 28 pixels"),
        (4, {"form": FORM._replace(width=8)}, "at most 3 convolutions, as each halves the 8 pixel"),
        (0, {"form": FORM._replace(height=0)}, "at most 0 convolutions, .* the 0 pixels"),
        (1, {"form": FORM._replace(height=-28)}, "at most 0 convolutions, .* the -28 pixels"),
        (4, {"crop": 7}, "at most 3 convolutions, as each halves the 14 pixels"),
        (0, {"crop": 14}, "at most 0 convolutions, as each halves the 0 pixels"),
        (0, {"crop": -1}, "crop\n +Input should be greater than or equal to 0"),
    ],
)
def test_an_impossible_size_is_rejected(convolutions, options, reason):
    with pytest.raises(ValueError, match=reason):
        deep_cnn([2] * convolutions, [], **options)


def test_a_cropped_network_equals_one_for_smaller_images():
    network = make_network([4, 6], [8], batch_norm=True, crop=3).eval()
    small = deep_cnn([4, 6], [8], FORM._replace(height=22, width=22), batch_norm=True).eval()
    small.load_state_dict(network.state_dict())
    images = make_images(5)

    assert torch.equal(network(images), small(images[..., 3:25, 3:25]))


def test_integer_and_float_pixels_have_the_same_scale():
    network, images = make_network([3], [4]), make_images(3)
    assert torch.equal(network(images), network(images.float()))


def test_batch_normalisation_precedes_relu():
    """Its output has mean 0 and standard deviation 1 in each channel, which ReLU's has not."""
    network = make_network([4], [], batch_norm=True).train()
    outputs = []
    norm = next(layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d))
    norm.register_forward_hook(lambda _layer, _inputs, output: outputs.append(output))
    network(make_images(50))

    (output,) = outputs
    assert output.shape == (50, 4, 14, 14)
    torch.testing.assert_close(output.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(output.std((0, 2, 3)), torch.ones(4), rtol=0, atol=1e-2)


def test_dropout_precedes_every_linear_layer_and_acts_only_in_training():
    network, images = make_network([2], [5, 5], dropout=0.5), make_images(3)
    kinds = [type(layer).__name__ for layer in network.classifier]
    assert kinds == ["Flatten", *["Dropout", "Linear", "ReLU"] * 2, "Dropout", "Linear"]

    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), make_network([2], [5, 5])(images))


def test_probabilities_are_the_softmax_of_the_logits():
    network, images = make_used_network().eval(), make_images(50)
    with torch.no_grad():
        network.classifier[-1].weight *= 30
        exponentials = network(images).double().exp()

    probabilities = model.probabilities(network, images)

    expected = exponentials / exponentials.sum(1, keepdim=True)
    assert (probabilities.shape, probabilities.dtype) == ((50, 10), torch.float64)
    assert probabilities.max() > 0.5
    torch.testing.assert_close(probabilities, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(50).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 7, 30, 1000])
def test_predictions_do_not_depend_on_the_batch_size_or_the_mode(batch_size):
    network, images = make_used_network(), make_images(30)
    expected = model.probabilities(network, images)
    network.train()
    found = model.probabilities(network, images, batch_size)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_probabilities_leave_the_model_in_evaluation_mode_with_its_weights():
    network = make_used_network()
    before = copy_state(network)

    assert not model.probabilities(network, make_images(3)).requires_grad
    assert not any(layer.training for layer in network.modules())
    assert is_unchanged(network, before)


def test_no_images_have_no_predictions():
    assert model.probabilities(make_used_network(), make_images(0)).shape == (0, 10)


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(make_used_network(), id="batch-normalisation"),
        pytest.param(make_network([], []), id="one-linear-layer"),
        pytest.param(make_network([3], [4, 5], form=Form(1, 12, 12, classes=3)), id="other-sizes"),
    ],
)
def test_a_saved_network_is_restored(network, tmp_path):
    before = copy_state(network)
    metadata = metadata_of(network)
    model.save(network, metadata, tmp_path / "model.pth")
    assert network.training
    assert is_unchanged(network, before)

    restored, dataset, _ = model.load(tmp_path / "model.pth")

    assert dataset == metadata
    assert (restored.name, restored.config) == (network.name, network.config)
    assert not any(layer.training for layer in restored.modules())
    assert is_unchanged(restored, before)
    images = make_images(4, network.form.height)
    assert torch.equal(restored(images), network.eval()(images))
    network.train()


def test_the_file_has_plain_values_for_other_programs(tmp_path):
    network = make_used_network()
    model.save(network, MNIST.metadata(), tmp_path / "model.pth")

    content = torch.load(tmp_path / "model.pth", weights_only=True)

    assert content["network"] == "deep_cnn"
    assert content["config"] == {
        "conv_layers": [2],
        "fc_layers": [3],
        "batch_norm": True,
        "dropout": 0.3,
        "crop": 0,
    }
    dataset = content["dataset"]
    assert (dataset["name"], dataset["classes"]) == ("MNIST", [*"0123456789"])
    assert (dataset["channels"], dataset["height"], dataset["width"]) == (1, 28, 28)
    assert content["state_dict"].keys() == network.state_dict().keys()
    assert is_unchanged(network, content["state_dict"])


def test_the_bytes_of_the_file_depend_only_on_the_network(tmp_path):
    paths = [tmp_path / name for name in ("model.pth", "again.pth", "folder/ein Modell.bin")]
    for path in paths:
        model.save(make_used_network(), MNIST.metadata(), path)
    loaded = model.load(paths[0])
    model.save(loaded.network, loaded.dataset, tmp_path / "copy.pth", loaded.calibration)

    assert len({path.read_bytes() for path in [*paths, tmp_path / "copy.pth"]}) == 1


def test_a_file_keeps_the_calibration(tmp_path):
    (tmp_path / "model.pth").write_bytes(model_file(calibration=calibration_of(17, 0.25)))
    fitted = model.load(tmp_path / "model.pth").calibration
    assert (fitted.temperature, fitted.threshold) == (0.5, 2)
    assert torch.equal(fitted.detector.whitening, torch.eye(17))
    assert fitted.detector.mean.tolist() == [0.25] * 17


def test_a_file_without_a_calibration_has_none(tmp_path):
    (tmp_path / "model.pth").write_bytes(model_file(version=2, calibration=REMOVED))
    assert model.load(tmp_path / "model.pth").calibration is None


def test_a_file_of_the_first_release_is_read(monkeypatch):
    """Release 0.1.0 saved `DeepCNN([2], [3], batch_norm=True)`, without a data set."""
    monkeypatch.chdir(ROOT)  # where the data set is described
    network, dataset, _ = model.load(ROOT / "tests/assets/model_v1.pth")

    assert dataset == MNIST.metadata()
    image = (torch.arange(28 * 28) % 256).reshape(1, 1, 28, 28)
    # fmt: off
    expected = torch.tensor([
        -8.370957, 0.741630, -1.992746, 4.387152, 6.485265,
        -1.688496, 6.009597, -2.654540, -0.829992, 8.211413,
    ])
    # fmt: on
    torch.testing.assert_close(network(image)[0].detach(), expected, rtol=1e-5, atol=1e-5)


def test_a_file_with_the_name_of_its_data_set_is_read(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    (tmp_path / "early.pth").write_bytes(model_file(dataset="KMNIST"))
    _, dataset, _ = model.load(tmp_path / "early.pth")
    assert dataset == DESCRIPTIONS["KMNIST"].metadata()
    (tmp_path / "early.pth").write_bytes(model_file(dataset="../params"))
    with pytest.raises(UserError, match=r"'\.\./params' is not the name of a data set"):
        model.load(tmp_path / "early.pth")


def dump(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


NETWORK = make_used_network()
WEIGHTS = NETWORK.state_dict()
BIAS = "classifier.2.bias"
REMOVED = object()
METADATA = MNIST.metadata().model_dump(mode="json")


def calibration_of(size, mean=0.0):
    """The calibration in a file, for so many responses. `NETWORK` has 2 × 2 + 3 + 10."""
    gaussian = {"mean": torch.full((size,), mean), "whitening": torch.eye(size)}
    return {"temperature": 0.5, "threshold": 2.0, **gaussian}


def model_file(config=None, /, **changes):
    """The content of a model file with changes in its configuration or in other keys."""
    content = {
        "format": "mnist-cnn",
        "version": 3,
        "dataset": METADATA,
        "network": "deep_cnn",
        "config": NETWORK.config.model_dump() | (config or {}),
        "state_dict": WEIGHTS,
        "calibration": None,
    } | changes
    return dump({key: value for key, value in content.items() if value is not REMOVED})


def test_the_file_that_the_invalid_ones_differ_from_is_read(tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(model_file())
    network, dataset, _ = model.load(path)
    assert (network.config, dataset) == (NETWORK.config, MNIST.metadata())


NO_TENSORS = "damaged, or not a PyTorch file of plain tensors"
NOT_OURS = "not a model of this project"
OTHER_VERSION = "format version .*, but this release reads 1 to 3"
MISMATCH = "network and weights do not match"
NOT_FINITE = "has weights that are not finite"

INVALID = {
    "text": (b"a text\nof two lines\n", NO_TENSORS),
    "empty": (b"", NO_TENSORS),
    "the first 3 bytes": (model_file()[:3], NO_TENSORS),
    "half a file": (model_file()[:3000], NO_TENSORS),
    "all but the last byte": (model_file()[:-1], NO_TENSORS),
    "a pickled network": (dump(NETWORK), NO_TENSORS),
    "weights alone": (dump(WEIGHTS), NOT_OURS),
    "a list": (dump([1, 2]), NOT_OURS),
    "another format": (model_file(format="other"), NOT_OURS),
    "no format": (model_file(format=REMOVED), NOT_OURS),
    "version 0": (model_file(version=0), OTHER_VERSION),
    "version 4": (model_file(version=4), OTHER_VERSION),
    "no version": (model_file(version=REMOVED), OTHER_VERSION),
    "a tensor as version": (model_file(version=torch.tensor([1, 1])), OTHER_VERSION),
    "other widths": (model_file({"conv_layers": [3]}), MISMATCH),
    "another layer": (model_file({"fc_layers": [3, 3]}), MISMATCH),
    "no batch normalisation": (model_file({"batch_norm": False}), MISMATCH),
    "too many poolings": (model_file({"conv_layers": [2] * 5}), MISMATCH),
    "a negative crop": (model_file({"crop": -2}), MISMATCH),
    "an unknown argument": (model_file({"colour": "grey"}), MISMATCH),
    "text as layers": (model_file({"conv_layers": "ab"}), MISMATCH),
    "a number as layers": (model_file({"conv_layers": 3}), MISMATCH),
    "impossible dropout": (model_file({"dropout": 5}), MISMATCH),
    "too large for the memory": (model_file({"fc_layers": [10**12]}), MISMATCH),
    "no configuration": (model_file(config=REMOVED), MISMATCH),
    "an unknown network": (model_file(network="os"), MISMATCH),
    "a list as network": (model_file(network=[]), MISMATCH),
    "no data set": (model_file(dataset=REMOVED), MISMATCH),
    "more channels": (model_file(dataset=METADATA | {"channels": 3, "object": None}), MISMATCH),
    "fewer classes": (model_file(dataset=METADATA | {"classes": ["0", "1"]}), MISMATCH),
    "a detector of another network": (model_file(calibration=calibration_of(4)), MISMATCH),
    "a calibration without a threshold": (
        model_file(calibration={"temperature": 1.0}),
        MISMATCH,
    ),
    "an infinite detector": (
        model_file(calibration=calibration_of(17, math.inf)),
        "has weights that are not finite",
    ),
    "an early file without architecture": (model_file(version=1), MISMATCH),
    "no weights": (model_file(state_dict=REMOVED), MISMATCH),
    "text as weights": (model_file(state_dict="weights"), MISMATCH),
    "a missing weight": (
        model_file(state_dict={name: WEIGHTS[name] for name in WEIGHTS if name != BIAS}),
        MISMATCH,
    ),
    "a number as data set": (model_file(dataset=3), MISMATCH),
    "NaN": (model_file(state_dict=WEIGHTS | {BIAS: torch.tensor([0, math.nan, 0])}), NOT_FINITE),
    "infinity": (
        model_file(state_dict=WEIGHTS | {BIAS: torch.tensor([0, 0, -math.inf])}),
        NOT_FINITE,
    ),
}


@pytest.mark.parametrize(("content", "reason"), INVALID.values(), ids=INVALID)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_an_invalid_file_is_rejected_in_one_line(content, reason, tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=reason) as error:
        model.load(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert not message.endswith("()")
    # PyTorch recommends to execute a file that it rejects.
    assert "weights_only" not in message


@pytest.mark.parametrize("name", ["absent.pth", ""], ids=["absent", "folder"])
def test_a_missing_file_is_rejected(name, tmp_path):
    with pytest.raises(UserError) as error:
        model.load(tmp_path / name)
    assert str(error.value) == f"{tmp_path / name}: missing"


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("pack", [pickle.dumps, dump, lambda payload: model_file(note=payload)])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_code_in_a_file_is_not_executed(pack, tmp_path):
    created, path = tmp_path / "created", tmp_path / "model.pth"
    path.write_bytes(pack(Payload(created)))
    with pytest.raises(UserError, match=NO_TENSORS):
        model.load(path)
    assert not created.exists()

    pickle.loads(pickle.dumps(Payload(created)))
    assert created.exists()
