"""Models are loaded by name, and predict what images show."""

import io
import sys
from pathlib import Path

from mnist_cnn import files
from mnist_cnn.errors import UserError
from mnist_cnn.inference import predictor
from mnist_cnn.inference.predictor import DEFAULT_MODEL, Prediction, Predictor
from mnist_cnn.learning import model
from mnist_cnn.tracking import registry
from mnist_cnn.tracking.resume import resume_run

import numpy as np
import pytest
import torch
from described import DESCRIPTIONS, MNIST
from drawings import draw, encode, template_network
from PIL import Image

NETWORK = template_network()
VALIDATION = Path("validation_predictions.csv")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_are_classified_in_order_and_those_that_cannot_be_read_are_reported():
    for digit in range(10):
        draw(digit).save(f"{digit}.png")
    Path("text.png").write_text("a text")
    draw(paper=0).save("black.png")
    names = ["text.png", *(f"{digit}.png" for digit in range(10)), "black.png", "absent.png"]
    predictions, errors = Predictor(NETWORK, MNIST).predict_files(names)
    assert [prediction.name for prediction in predictions] == names[1:11]
    for digit, (_, pixels, probabilities, _) in enumerate(predictions):
        assert (pixels.shape, probabilities.shape) == ((1, 28, 28), (10,))
        assert probabilities.sum() == pytest.approx(1)
        assert probabilities.argmax() == digit
    text, black, absent = map(str, errors)
    assert text.startswith("text.png: not an image of the formats PNG, ")
    assert black.startswith("black.png: shows nothing")
    assert absent == "absent.png: missing"


def test_without_a_readable_file_there_are_no_predictions():
    predictions, (error,) = Predictor(NETWORK, MNIST).predict_files(["absent.png"])
    assert predictions == []
    assert str(error) == "absent.png: missing"


def test_the_name_of_standard_input_is_a_hyphen(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(encode(draw(5)))))
    # The second time, standard input is empty.
    (prediction,), (error,) = Predictor(NETWORK, MNIST).predict_files("--")
    assert (prediction.name, prediction.probabilities.argmax()) == ("-", 5)
    assert str(error) == "-: empty"


def test_objects_are_scaled_to_the_size_that_they_have_in_the_data_set():
    for name, size in {"MNIST": 20, "FashionMNIST": 28}.items():
        pixels = Predictor(NETWORK, DESCRIPTIONS[name]).preprocess(np.asarray(draw())[None], "a")
        assert np.ptp(pixels[0].any(axis=1).nonzero()) + 1 == size


def test_colours_of_equal_lightness_differ():
    red, green = (220, 40, 40), (30, 135, 50)
    draw(7, mode="RGB", ink=red, paper=green).save("seven.png")
    draw(2, mode="RGB", ink=green, paper=red).save("two.png")
    predictions, errors = Predictor(NETWORK, MNIST).predict_files(["seven.png", "two.png"])
    assert [prediction.probabilities.argmax() for prediction in predictions] == [7, 2]
    assert errors == []


@pytest.mark.parametrize("size", [(1, 1), (3, 1)])
def test_a_tiny_image_in_colour_shows_nothing(size):
    Image.new("RGB", size, (220, 40, 40)).save("tiny.png")
    _, (error,) = Predictor(NETWORK, MNIST).predict_files(["tiny.png"])
    assert str(error).startswith("tiny.png: shows nothing")


def test_an_image_of_two_digits_is_an_error_but_not_one_of_a_character_in_two_parts():
    draw("51", size=(300, 240), at=(150, 120)).save("two.png")
    _, (error,) = Predictor(NETWORK, MNIST).predict_files(["two.png"])
    assert str(error).startswith("two.png: shows more than one object")
    (_,), errors = Predictor(NETWORK, DESCRIPTIONS["KMNIST"]).predict_files(["two.png"])
    assert errors == []


def test_labels_are_ranked_by_probability():
    probabilities = np.array([0.1, 0.2, 0.5, 0.2, *[0.0] * 6])
    ranked = Prediction("file", np.zeros((1, 28, 28), np.uint8), probabilities).ranked()
    assert ranked[:4] == [(2, 0.5), (1, 0.2), (3, 0.2), (0, 0.1)]


@pytest.mark.parametrize("dataset", DESCRIPTIONS)
def test_a_model_knows_its_data_set(dataset):
    metadata = DESCRIPTIONS[dataset].metadata()
    model.save(NETWORK, metadata, Path("other.pth"))
    loaded = predictor.load("other.pth")
    assert loaded.dataset == metadata
    assert torch.equal(loaded.model.classifier[-1].weight, NETWORK.classifier[-1].weight)


def test_a_missing_model_is_an_error():
    with pytest.raises(UserError, match=f"^{DEFAULT_MODEL}: missing; restore it by `git "):
        predictor.load(DEFAULT_MODEL)
    with pytest.raises(UserError, match=r"^other\.pth: missing$"):
        predictor.load("other.pth")


def test_without_an_object_to_cut_out_an_image_is_resized():
    metadata = MNIST.metadata().model_copy(update={"object": None, "channels": 3})
    image = np.zeros((3, 56, 112), np.uint8)
    image[0], image[1, :28] = 200, 100
    pixels = Predictor(NETWORK, metadata).preprocess(image, "a")
    assert (pixels.dtype, pixels.shape) == (np.uint8, (3, 28, 28))
    assert (pixels[0] == 200).all()
    assert (pixels[1, :13] == 100).all()
    assert (pixels[1, 15:] == 0).all()
    assert (pixels[2] == 0).all()


@pytest.mark.usefixtures("store")
def test_a_model_can_be_loaded_from_the_registry():
    path = Path(DEFAULT_MODEL)
    model.save(NETWORK, MNIST.metadata(), path)
    images = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    files.write_csv(VALIDATION, [{"image": "a", "label": 1, "seed_0": 1}])
    result = registry.Result(accuracy=0.9, mistakes=1, examples=10)
    with resume_run("train", "train-1", {}) as run:
        run.log_outputs(path)
        candidate = registry.Candidate(
            *(MNIST, NETWORK, path, images, VALIDATION, result), facts={}, note="a note"
        )
        registry.register(run, candidate, confidence=0.95)
    path.unlink()
    for name in ("mnist-cnn@champion", "mnist-cnn/1"):
        loaded = predictor.load(name)
        assert loaded.dataset == MNIST.metadata()
        assert torch.equal(loaded.model.classifier[-1].weight, NETWORK.classifier[-1].weight)
