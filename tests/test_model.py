"""The network computes what the article's does, and its file gives it back or is refused."""

import io
import pickle
from pathlib import Path

from mnist_cnn import model
from mnist_cnn.errors import UserError
from mnist_cnn.model import DeepCNN

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

ASSETS = Path(__file__).parent / "assets"


def seeded(conv_layers, fc_layers, *, seed=0, **options):
    torch.manual_seed(seed)
    return DeepCNN(conv_layers, fc_layers, **options)


def digits(count, size=28, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, size, size), generator=generator, dtype=torch.uint8)


def used(conv_layers=(4, 6), fc_layers=(8,)):
    """A network with batch normalisation and dropout that has seen images."""
    network = seeded(conv_layers, fc_layers, batch_norm=True, dropout=0.3).train()
    for seed in range(10):
        network(digits(20, seed=seed))
    return network


def as_the_article_has_it(network, pixels):
    """The article's forward pass in double precision, with the weights of `network`."""
    weights = [value.detach().double() for value in network.parameters()]
    layers = list(zip(weights[::2], weights[1::2], strict=True))
    x = (pixels.double() / 255 - 0.5) / 0.5
    for kernel, offset in (pair for pair in layers if pair[0].ndim == 4):
        x = F.max_pool2d(F.conv2d(x, kernel, offset, padding=1).clamp(min=0), 2)
    x = x.reshape(len(x), -1)
    *hidden, last = (pair for pair in layers if pair[0].ndim == 2)
    for matrix, offset in hidden:
        x = (x @ matrix.T + offset).clamp(min=0)
    return x @ last[0].T + last[1]


def assert_is_the_article(conv_layers, fc_layers):
    network = seeded(conv_layers, fc_layers)
    shapes = [value.shape for value in network.parameters() if value.ndim > 1]
    assert [s[0] for s in shapes] == [*conv_layers, *fc_layers, 10]
    assert [s[2:] for s in shapes if len(s) == 4] == [(3, 3)] * len(conv_layers)
    with torch.no_grad():
        found = network(digits(3)).double()
    expected = as_the_article_has_it(network, digits(3))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_the_article_s_best_network_has_its_number_of_weights():
    network = DeepCNN([88, 237], [389])
    assert sum(weights.numel() for weights in network.parameters()) == 4_710_567


@pytest.mark.parametrize(
    ("conv_layers", "fc_layers"),
    [
        pytest.param([88, 237], [389], id="the-article-s-best"),
        pytest.param([5], [], id="no-hidden-linear-layer"),
        pytest.param([], [7], id="no-convolution"),
        pytest.param([], [], id="one-linear-layer"),
        pytest.param([2, 3, 4, 5], [6, 7, 8], id="four-and-three"),
    ],
)
def test_it_computes_what_the_article_s_network_does(conv_layers, fc_layers):
    assert_is_the_article(conv_layers, fc_layers)


@settings(deadline=None, max_examples=30)
@given(
    conv_layers=st.lists(st.integers(1, 9), max_size=4),
    fc_layers=st.lists(st.integers(1, 9), max_size=6),
)
def test_any_number_of_layers_computes_what_the_article_s_would(conv_layers, fc_layers):
    assert_is_the_article(conv_layers, fc_layers)


@pytest.mark.parametrize(
    ("convolutions", "size"),
    [
        pytest.param(5, 28, id="5-of-28-pixels"),
        pytest.param(4, 8, id="4-of-8-pixels"),
        pytest.param(0, 0, id="none-of-0-pixels"),
        pytest.param(1, -28, id="1-of-minus-28-pixels"),
    ],
)
def test_more_poolings_than_pixels_are_refused(convolutions, size):
    with pytest.raises(ValueError, match=f"{convolutions} poolings .* {size} pixels"):
        DeepCNN([2] * convolutions, [], image_size=size)


@pytest.mark.parametrize(("convolutions", "size"), [(4, 28), (3, 8), (3, 15), (0, 1)])
def test_as_many_poolings_as_the_pixels_allow_are_accepted(convolutions, size):
    network = DeepCNN([2] * convolutions, [3], image_size=size, classes=4)
    assert network(digits(2, size)).shape == (2, 4)


def test_a_cropped_network_answers_as_one_of_smaller_images_would():
    network = seeded([4, 6], [8], batch_norm=True, crop=3).eval()
    small = DeepCNN([4, 6], [8], batch_norm=True, image_size=22).eval()
    small.load_state_dict(network.state_dict())
    images = digits(5)

    assert torch.equal(network(images), small(images[..., 3:25, 3:25]))


@pytest.mark.parametrize(
    ("convolutions", "crop", "reason"),
    [
        (4, 7, "4 poolings .* 14 pixels"),
        (0, 14, "0 poolings .* 0 pixels"),
        (0, -1, "crop is -1, expected 0 or more"),
    ],
)
def test_a_crop_that_leaves_too_little_or_adds_something_is_refused(convolutions, crop, reason):
    with pytest.raises(ValueError, match=reason):
        DeepCNN([2] * convolutions, [], crop=crop)


def test_whole_and_fractional_pixel_values_are_on_one_scale():
    network = seeded([3], [4])
    torch.testing.assert_close(network(digits(3)), network(digits(3).float()), rtol=0, atol=0)


def test_batch_normalisation_makes_channels_of_mean_0_and_deviation_1_before_relu():
    network = seeded([4], [], batch_norm=True).train()
    seen = []
    norm = next(layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d))
    norm.register_forward_hook(lambda _layer, inputs, output: seen.extend([*inputs, output]))
    network(digits(50))
    before, after = seen
    assert before.shape == (50, 4, 14, 14)
    torch.testing.assert_close(after.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(after.std((0, 2, 3)), torch.ones(4), rtol=0, atol=1e-2)


def test_dropout_acts_before_every_linear_layer_in_training_and_never_after():
    network = seeded([2], [5, 5], dropout=0.5)
    assert [layer.p for layer in network.modules() if isinstance(layer, torch.nn.Dropout)] == (
        [0.5] * 3
    )
    assert not torch.equal(network(digits(3)), network(digits(3)))
    network.eval()
    plain = seeded([2], [5, 5])
    assert torch.equal(network(digits(3)), plain(digits(3)))


def test_rows_of_probabilities_add_up_to_one():
    network = used()
    with torch.no_grad():
        network.classifier[-1].weight *= 30
    probabilities = model.predict(network, digits(50))
    assert probabilities.shape == (50, 10)
    assert probabilities.min() >= 0
    assert probabilities.max() > 0.5
    torch.testing.assert_close(
        probabilities.sum(1), torch.ones(50, dtype=probabilities.dtype), rtol=0, atol=1e-12
    )


def test_probabilities_are_the_softmax_of_the_logits():
    network = used().eval()
    with torch.no_grad():
        exponentials = network(digits(5)).double().exp()
    expected = exponentials / exponentials.sum(1, keepdim=True)
    torch.testing.assert_close(
        model.predict(network, digits(5)).double(), expected, rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("batch_size", [1, 7, 30, 1000])
def test_answers_do_not_depend_on_the_batch_size(batch_size):
    network, images = used(), digits(30)
    expected = model.predict(network, images)
    network.train()
    found = model.predict(network, images, batch_size)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_predict_leaves_evaluation_mode_and_the_state_as_it_was():
    network = used()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert not model.predict(network, digits(3)).requires_grad
    assert not any(layer.training for layer in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_no_images_get_no_answers():
    assert model.predict(used(), digits(0)).shape == (0, 10)


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(used, id="convolutions-and-normalisation"),
        pytest.param(lambda: seeded([], []), id="one-linear-layer"),
        pytest.param(lambda: seeded([3], [4, 5], image_size=12, classes=3), id="other-sizes"),
    ],
)
def test_a_saved_network_comes_back_as_it_was(network, tmp_path):
    network = network()
    path = tmp_path / "model.pth"
    model.save(network, "FashionMNIST", path)
    back, dataset = model.load(path)
    assert dataset == "FashionMNIST"
    assert back.architecture == network.architecture
    assert repr(back) == repr(network.eval())
    assert not any(layer.training for layer in back.modules())
    images = digits(4, network.architecture["image_size"])
    assert torch.equal(model.predict(back, images), model.predict(network, images))


def test_saving_leaves_the_mode_and_the_weights_of_the_network(tmp_path):
    network = used()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    model.save(network, "MNIST", tmp_path / "model.pth")
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_same_network_gives_the_same_bytes_whatever_the_file_is_called(tmp_path):
    paths = [tmp_path / name for name in ("model.pth", "again.pth", "folder/ein Modell.bin")]
    for path in paths:
        model.save(used(), "MNIST", path)
    model.save(*model.load(paths[0]), tmp_path / "copy.pth")
    contents = {path.read_bytes() for path in [*paths, tmp_path / "copy.pth"]}
    assert len(contents) == 1


def test_another_weight_gives_other_bytes(tmp_path):
    network = used()
    model.save(network, "MNIST", tmp_path / "before.pth")
    with torch.no_grad():
        network.classifier[-1].bias[0] += 1
    model.save(network, "MNIST", tmp_path / "after.pth")
    assert (tmp_path / "before.pth").read_bytes() != (tmp_path / "after.pth").read_bytes()


def test_the_file_opens_without_this_project(tmp_path):
    network = used()
    model.save(network, "MNIST", tmp_path / "model.pth")
    content = torch.load(tmp_path / "model.pth", weights_only=True)
    assert content["architecture"] == network.architecture
    assert content["state_dict"].keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        assert torch.equal(content["state_dict"][name], value)


def test_a_file_of_an_earlier_release_still_gives_its_answer():
    """The file is `DeepCNN([2], [3], batch_norm=True)` as saved by release 0.1.0."""
    network, dataset = model.load(ASSETS / "model_v1.pth")
    assert dataset == "MNIST"
    image = (torch.arange(28 * 28) % 256).reshape(1, 1, 28, 28)
    with torch.no_grad():
        logits = network(image)[0]
    # fmt: off
    expected = torch.tensor([
        -8.370957, 0.741630, -1.992746, 4.387152, 6.485265,
        -1.688496, 6.009597, -2.654540, -0.829992, 8.211413,
    ])
    # fmt: on
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def good():
    """What a file of ours holds."""
    buffer = io.BytesIO()
    network = used([2], [3])
    content = {
        "format": model.FORMAT,
        "version": model.VERSION,
        "dataset": "KMNIST",
        "architecture": dict(network.architecture),
        "state_dict": network.state_dict(),
    }
    torch.save(content, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def with_architecture(**changes):
    content = good()
    content["architecture"] |= changes
    return saved(content)


def with_weight(value):
    content = good()
    content["state_dict"]["classifier.2.weight"][1, 5] = value
    return saved(content)


def without(key):
    content = good()
    del content[key]
    return saved(content)


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


UNREADABLE = {
    "text": lambda: b"a text\nof two lines\n",
    "empty": lambda: b"",
    "half-a-file": lambda: saved(good())[:3000],
    "all-but-a-byte": lambda: saved(good())[:-1],
    "three-bytes": lambda: saved(good())[:3],
    "a-pickled-network": lambda: saved(seeded([2], [3])),
}
FOREIGN = {
    "a-state-dict-alone": lambda: saved(good()["state_dict"]),
    "a-list": lambda: saved([1, 2]),
    "another-format": lambda: saved(good() | {"format": "other"}),
    "no-format": lambda: without("format"),
}
OTHER_VERSION = {
    "version-2": lambda: saved(good() | {"version": 2}),
    "no-version": lambda: without("version"),
    "a-tensor-for-version": lambda: saved(good() | {"version": torch.tensor([1, 1])}),
}
MISFIT = {
    "other-widths": lambda: with_architecture(conv_layers=[3]),
    "a-crop-below-nothing": lambda: with_architecture(crop=-2),
    "more-layers": lambda: with_architecture(fc_layers=[3, 3]),
    "no-normalisation": lambda: with_architecture(batch_norm=False),
    "too-many-poolings": lambda: with_architecture(conv_layers=[2] * 5),
    "unknown-key": lambda: with_architecture(colour="grey"),
    "text-for-layers": lambda: with_architecture(conv_layers="ab"),
    "number-for-layers": lambda: with_architecture(conv_layers=3),
    "impossible-dropout": lambda: with_architecture(dropout=5),
    "more-memory-than-there-is": lambda: with_architecture(fc_layers=[10**12]),
    "no-architecture": lambda: without("architecture"),
    "no-weights": lambda: without("state_dict"),
    "text-for-weights": lambda: saved(good() | {"state_dict": "weights"}),
    "a-weight-missing": lambda: saved(
        good() | {"state_dict": {k: v for k, v in good()["state_dict"].items() if "2" not in k}}
    ),
}
NO_DATASET = {
    "a-number-for-its-name": lambda: saved(good() | {"dataset": 3}),
}
NOT_FINITE = {
    "nan": lambda: with_weight(float("nan")),
    "infinity": lambda: with_weight(float("-inf")),
}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(content, reason, id=name)
        for cases, reason in (
            (UNREADABLE, "not a PyTorch file of plain tensors"),
            (FOREIGN, "not a model of this project"),
            (OTHER_VERSION, "format version .*, this release reads 1"),
            (MISFIT, "architecture and weights do not fit"),
            (NO_DATASET, "names no data set"),
            (NOT_FINITE, "weights that are not finite"),
        )
        for name, content in cases.items()
    ],
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_what_is_not_a_model_of_ours_is_refused_on_one_line(content, reason, tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(content())
    with pytest.raises(UserError, match=reason) as error:
        model.load(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert not message.endswith("()")
    # PyTorch's advice for files that it refuses is to run what they contain.
    assert "weights_only" not in message


def test_the_file_that_the_refused_ones_are_made_of_is_accepted(tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(saved(good()))
    network, dataset = model.load(path)
    assert (network.architecture, dataset) == (good()["architecture"], "KMNIST")


@pytest.mark.parametrize(
    "name", [pytest.param("absent.pth", id="absent"), pytest.param("", id="a-folder")]
)
def test_a_file_that_is_not_there_is_refused_on_one_line(name, tmp_path):
    with pytest.raises(UserError) as error:
        model.load(tmp_path / name)
    assert str(error.value) == f"{tmp_path / name}: missing"


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(pickle.dumps, id="pickle"),
        pytest.param(saved, id="PyTorch-file"),
        pytest.param(lambda payload: saved(good() | {"note": payload}), id="inside-a-model"),
    ],
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_code_in_a_file_is_not_run(pack, tmp_path):
    touched, path = tmp_path / "touched", tmp_path / "model.pth"
    path.write_bytes(pack(Payload(touched)))
    with pytest.raises(UserError, match="not a PyTorch file of plain tensors"):
        model.load(path)
    assert not touched.exists()


def test_the_payload_would_run_if_it_were_let(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "touched")))
    assert (tmp_path / "touched").exists()
