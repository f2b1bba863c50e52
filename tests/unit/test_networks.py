"""Every network in the folder keeps the promises of `networks.Classifier`."""

from mnist_cnn import networks
from mnist_cnn.datasets.description import Form, Metadata
from mnist_cnn.learning import compute, model, training
from mnist_cnn.learning.data import Examples
from mnist_cnn.learning.hyperparameters import parse

import pytest
import torch

FORM = Form(channels=3, height=16, width=24, classes=4)
METADATA = Metadata(
    name="colours",
    title="Colours",
    noun="colour",
    channels=3,
    height=16,
    width=24,
    classes=("black", "grey", "light", "white"),
)
SMALL = {"deep_cnn": {"conv1_out_channels": 4}, "residual": {"width": 4}}
NETWORKS = [
    pytest.param(name, marks=[] if name in SMALL else pytest.mark.skip(f"SMALL has no {name}"))
    for name in networks.names()
]


def make_examples(count):
    """Images of a class have a brightness of their own."""
    torch.manual_seed(0)
    labels = torch.arange(count) % FORM.classes
    noise = torch.randint(0, 40, (count, FORM.channels, FORM.height, FORM.width))
    return Examples((noise + 50 * labels[:, None, None, None]).to(torch.uint8), labels)


def train(name, **options):
    compute.configure(1)
    hyperparameters = parse(SMALL[name] | {"batch_size": 20, "learning_rate": 0.01} | options, name)
    network = training.build(hyperparameters, FORM, seed=0)
    examples = make_examples(200)
    epochs = [*training.fit(network, hyperparameters, examples, examples, epochs=3, seed=0)]
    return network, epochs[-1].validation_accuracy


def test_the_networks_are_found_by_name():
    assert SMALL.keys() <= set(networks.names())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_learns_colour_images_of_any_size_and_gives_the_same_bytes_twice(name, tmp_path):
    for path in (tmp_path / "first.pth", tmp_path / "second.pth"):
        network, accuracy = train(name)
        model.save(network, METADATA, path)

    assert accuracy > 0.9
    assert (tmp_path / "first.pth").read_bytes() == (tmp_path / "second.pth").read_bytes()
    restored, _, _ = model.load(tmp_path / "first.pth")
    assert (restored.name, restored.form) == (name, FORM)
    images = make_examples(5).images
    assert torch.equal(model.probabilities(restored, images), model.probabilities(network, images))


@pytest.mark.parametrize("classes", [4, 10**12])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_check_builds_no_large_network_in_memory_and_draws_no_random_number(name, classes):
    state = torch.get_rng_state()
    config = parse(SMALL[name], name).config
    networks.check(name, config, FORM._replace(classes=classes))
    assert torch.equal(torch.get_rng_state(), state)


class Broken(networks.Classifier):
    """Takes images of another size, or returns too many logits."""

    def __init__(self, _config, form):
        super().__init__(_config, form)
        self.layer = torch.nn.Linear(form.channels * form.height * self.width, 9)

    def forward(self, pixels):
        return self.layer(networks.normalise(pixels).flatten(1))


@pytest.mark.parametrize(
    ("width", "reason"),
    [
        (23, "network broken fails for 16 × 24 pixels, .*: .*cannot be multiplied"),
        (24, r"network broken returns \(2, 9\) for two images, not \(2, 4\)"),
    ],
)
def test_a_network_that_cannot_take_the_images_is_found_before_it_is_trained(
    monkeypatch, width, reason
):
    monkeypatch.setattr(Broken, "width", width, raising=False)
    monkeypatch.setattr(networks, "build", lambda _name, config, form: Broken(config, form))
    with pytest.raises(ValueError, match=reason):
        networks.check("broken", None, FORM)


def test_weight_decay_can_leave_out_biases_and_normalisation():
    hyperparameters = parse(
        {"optimizer": "adamw", "weight_decay": 0.1, "decay_biases_and_norms": False}, "residual"
    )
    network = training.build(hyperparameters, FORM, seed=0)
    decayed, others = hyperparameters.optimizer.build(network, 0.1).param_groups

    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in others["params"]} == {1}
    count = sum(len(group["params"]) for group in (decayed, others))
    assert count == len([*network.parameters()])


def test_resnet_20_has_the_published_number_of_parameters():
    """He et al. 2016, table 6: 0.27 million, on images of 32 × 32 pixels with 3 channels."""
    config = networks.config("residual")(blocks=3, width=16)
    network = networks.build("residual", config, Form(3, 32, 32, 10))
    assert "20 layers" in network.describe()
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(0.27e6, rel=0.02)
