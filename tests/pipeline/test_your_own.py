"""A data set of one's own, from its description to a rebuilt run."""

import csv
import json
import re

from mnist_cnn.datasets import arrays
from mnist_cnn.learning import model

import numpy as np
import pytest
import torch
import yaml
from clone import PARAMS, ROOT, make_clone
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

# For each class, the number of images and how it is drawn.
SHAPES = {"circle": (90, "ellipse"), "square": (150, "rectangle"), "triangle": (60, "polygon")}

RESIDUAL = {
    "hyperparameters": {
        "batch_size": 20,
        "augmentation": "flip_crop",
        "padding": 2,
        "schedule": "one_cycle",
    },
    "search_space": {
        "width": {"type": "int", "low": 8, "high": 12, "step": 4},
        "learning_rate": {"type": "float", "low": 0.01, "high": 0.03, "log": True},
    },
}


def draw_shape(method, generator, size=40):
    """A shape of random size, place and colours."""
    paper, ink = (tuple(generator.integers(*ends, 3).tolist()) for ends in ((0, 90), (160, 256)))
    image = Image.new("RGB", (size + 8, size), paper)
    low, high = generator.integers(2, 10), generator.integers(26, size - 2)
    box = [(low, low), (high, high)]
    if method == "polygon":
        box = [(low, high), (high, high), ((low + high) // 2, low)]
    getattr(ImageDraw.Draw(image), method)(box, fill=ink)
    return image


def run_pipeline(clone, name, network, tune):
    """Run all stages with small parameters for a described data set, and commit the results."""
    clone.set_params({"download": {"dataset": name}, "model": {"network": network}})
    clone.set_params(
        {
            "tune": tune | {"trials": 3, "train_size": "all", "validation_size": 40},
            "train": {"train_size": "all", "epochs": 16},
            "evaluate": {"test_size": "all"},
        }
    )
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "--message", name)
    clone.run("dvc", "repro")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A clone with a residual network for colour images in three classes of unequal size."""
    clone = make_clone(tmp_path_factory.mktemp("shapes"))
    generator = np.random.default_rng(0)
    folder = clone.folder.parent / f"{clone.folder.name}-pictures"
    for name, (count, method) in SHAPES.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            draw_shape(method, generator).save(folder / name / f"{number:03}.png")
    clone.pictures = folder
    done = clone.run(
        *("python", "src/describe.py", str(folder), "--name", "shapes"),
        *("--noun", "shape", "--size", "20x24"),
    )
    assert "datasets/shapes.yaml: 20 × 24 pixels, 3 channels, 3 classes" in done.stdout
    run_pipeline(clone, "shapes", "residual", RESIDUAL)
    return clone


def test_a_folder_of_images_is_learnt(shapes):
    metrics = json.loads(shapes.read("reports/evaluate/metrics.json"))
    assert metrics["test_examples"] == 60
    assert metrics["test_accuracy"] > 0.8


def test_the_model_knows_its_classes_and_its_form(shapes):
    network, dataset, _ = model.load(shapes.folder / "models/best_model.pth")
    assert network.name == "residual"
    assert network.form == (3, 20, 24, 3)
    assert dataset.classes == tuple(SHAPES)


def test_the_card_and_the_registry_are_those_of_the_data_set(shapes):
    card = shapes.read("reports/model_card.md").decode()
    assert card.startswith("---\nlicense")
    assert "# shapes-cnn" in card
    assert "colour images of 20 × 24 pixels" in card
    assert "circle, square, triangle" in card
    assert "MNIST" not in card
    champion = shapes.mlflow.get_model_version_by_alias("shapes-cnn", "champion")
    assert float(champion.tags["test_accuracy"]) > 0.8


def test_images_of_the_folder_are_classified(shapes):
    image = str(shapes.pictures / "square/000.png")
    done = shapes.run("python", "src/predict.py", "--json", image)
    assert json.loads(done.stdout)["name"] == "square"


def test_plots_show_the_classes_and_the_data_changed_nothing_else(shapes):
    assert (shapes.folder / "reports/evaluate/plots/mistakes.png").exists()
    table = (shapes.folder / "reports/evaluate/tables/confusion_matrix.csv").read_text()
    assert len(table.splitlines()) == 4


def test_changed_images_stop_the_download(shapes):
    (shapes.pictures / "circle/000.png").write_bytes(
        (shapes.pictures / "circle/001.png").read_bytes()
    )
    done = shapes.run("dvc", "repro", "--force", "--single-item", "download", check=False)
    assert done.returncode
    assert "the examples are not those of datasets/shapes.yaml" in done.stderr + done.stdout


def test_a_run_of_earlier_images_is_computed_again_from_the_cache_without_the_folder(shapes):
    shapes.run("git", "add", "--all")
    shapes.run("git", "commit", "--quiet", "--message", "results")
    shapes.run("python", "src/describe.py", str(shapes.pictures), "--force")
    shapes.run("dvc", "repro", "download")
    shapes.pictures.rename(shapes.pictures.with_name("moved"))
    done = shapes.run("python", "src/reproduce.py", "shapes-cnn/1", "--force")
    assert "Running stage 'train'" in done.stdout
    assert "are the same" in done.stdout


def test_the_digits_of_scikit_learn_are_read_from_an_archive(tmp_path):
    clone = make_clone(tmp_path / "digits")
    digits = load_digits()
    pixels = (digits.images * 255 / 16).round().astype(np.uint8)
    np.savez(tmp_path / "digits.npz", images=pixels, labels=digits.target)
    clone.run("python", "src/describe.py", str(tmp_path / "digits.npz"), "--noun", "digit")
    clone.set_params({"download": {"dataset": "digits"}})
    clone.run("dvc", "repro", "download")

    train, test = (arrays.read(part, clone.folder / "data/digits") for part in ("train", "test"))
    assert (len(train.labels), len(test.labels)) == (1438, 359)
    assert train.images.shape[1:] == (1, 8, 8)
    read = [np.c_[part.images.reshape(-1, 64), part.labels] for part in (train, test)]
    given = np.c_[pixels.reshape(-1, 64), digits.target]
    assert sorted(np.concatenate(read).tolist()) == sorted(given.tolist())


def blocks(language):
    """The code blocks of a language in `docs/your-own.md`."""
    text = (ROOT / "docs/your-own.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


@pytest.fixture(scope="module")
def perceptron(tmp_path_factory):
    """A clone with the network, the parameters and the objective of `docs/your-own.md`."""
    clone = make_clone(tmp_path_factory.mktemp("perceptron"))
    network, _ = blocks("python")
    (clone.folder / "src/mnist_cnn/networks/perceptron.py").write_text(network)
    for block in blocks("yaml"):
        content = yaml.safe_load(block)
        if ("model" in content and "tune" in content) or "objective" in content.get("tune", {}):
            clone.set_params(content)
    clone.run("dvc", "repro")
    return clone


def test_the_network_of_the_documentation_is_trained_by_its_objective(perceptron):
    content = torch.load(perceptron.folder / "models/best_model.pth", weights_only=True)
    assert content["network"] == "perceptron"
    assert (
        "The network `perceptron` with width:" in perceptron.read("reports/model_card.md").decode()
    )
    rows = csv.DictReader(perceptron.read("reports/tune/finalists.csv").decode().splitlines())
    epochs = str(PARAMS["train"]["epochs"])
    losses = [float(row["validation_loss"]) for row in rows if row["epoch"] == epochs]
    best = json.loads(perceptron.read("reports/tune/metrics.json"))
    assert best["validation_loss"] == min(losses)


def test_the_metric_of_the_documentation_reruns_the_evaluation_only(perceptron):
    _, function = blocks("python")
    parts = perceptron.folder / "src/mnist_cnn/evaluation/parts.py"
    before, start, names = re.split(r"(PARTS: tuple.* = \(\n)", parts.read_text())
    names = names.replace("    top_3,\n", "")  # a user may have added it
    parts.write_text(f"{before}{function}\n\n{start}    top_3,\n{names}")

    done = perceptron.run("dvc", "repro").stdout

    assert re.findall("Running stage '(.*)'", done) == ["evaluate"]
    metrics = json.loads(perceptron.read("reports/evaluate/metrics.json"))
    assert metrics["test_accuracy"] < metrics["test_top_3_accuracy"] <= 1
    assert "| top-3 accuracy | " in perceptron.read("reports/model_card.md").decode()
