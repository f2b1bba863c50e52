"""The script as a person runs it: files, folders, standard input, and what is wrong with them."""

import io
import json
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from mnist_cnn import images, model, plots
from mnist_cnn.model import DeepCNN

import numpy as np
import pytest
import torch
from clone import ROOT
from PIL import Image, ImageDraw, ImageFont

SCRIPT = ROOT / "src/predict.py"
HEADER = ["file", "digit", "confidence", "runner-up", "confidence"]


def drawn(digit):
    image = Image.new("L", (120, 150), 255)
    font = ImageFont.load_default(110)
    ImageDraw.Draw(image).text((60, 75), str(digit), 0, font, anchor="mm")
    return image


def prepared(image):
    return images.preprocess(np.asarray(image), "", box=20, strokes=True)


def template_matcher():
    """A linear network that answers with the drawn digit that is nearest to what it sees."""
    templates = torch.stack([torch.from_numpy(prepared(drawn(k))).flatten() for k in range(10)])
    scaled = templates.float() / 127.5 - 1
    network = DeepCNN([], [])
    with torch.no_grad():
        network.classifier[-1].weight.copy_(scaled / 50)
        network.classifier[-1].bias.copy_(-(scaled**2).sum(1) / 100)
    return network


class Done(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def rows(self):
        header, *rows = (line.split() for line in self.out.splitlines())
        assert header == HEADER
        return rows

    @property
    def objects(self):
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working directory, with a model in its place."""
    monkeypatch.chdir(tmp_path)
    model.save(template_matcher(), "MNIST", Path("models/best_model.pth"))
    return tmp_path


@pytest.fixture
def predict(monkeypatch, capsys):
    """Run the script in this process, which spares it the imports."""

    def run(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return Done(ended.value.code, *capsys.readouterr())

    signals = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGPIPE)}
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield run
    for name, handler in signals.items():
        signal.signal(name, handler)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def png(image):
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def test_a_table_has_a_row_for_each_file(predict):
    drawn(7).save("seven.png")
    drawn(3).convert("RGB").save("a name.jpg")
    done = predict("seven.png", "a name.jpg")
    assert done.status == 0
    assert done.err == ""
    seven, three = done.rows
    assert seven[:2] == ["seven.png", "7"]
    assert three[:3] == ["a", "name.jpg", "3"]
    first, second = (float(seven[i].rstrip("%")) for i in (2, 4))
    assert first > second > 0
    assert len({len(line) for line in done.out.splitlines()}) == 1


def test_json_lines_tell_all_ten_probabilities(predict):
    for digit in range(10):
        drawn(digit).save(f"{digit}.png")
    done = predict(*(f"{digit}.png" for digit in range(10)), "--json")
    assert [line["label"] for line in done.objects] == list(range(10))
    for digit, line in enumerate(done.objects):
        assert line.keys() == {"file", "label", "name", "confidence", "probabilities"}
        assert line["name"] == str(digit)
        assert line["file"] == f"{digit}.png"
        assert sum(line["probabilities"]) == pytest.approx(1)
        assert line["confidence"] == max(line["probabilities"]) == line["probabilities"][digit]


def test_an_image_comes_from_standard_input(predict):
    done = predict("-", "--json", stdin=png(drawn(5)))
    assert [(line["file"], line["label"]) for line in done.objects] == [("-", 5)]


def test_standard_input_that_is_no_image_is_named(predict):
    assert predict("-").err == "error: standard input: empty\n"
    grey = png(Image.new("L", (9, 9), 9))
    assert predict("-", stdin=grey).err.startswith("error: standard input: nothing to be seen")


def test_a_folder_stands_for_the_images_in_it(predict):
    for name in ("b/2.png", "b/deeper/1.png", "b/3.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        drawn(Path(name).stem).save(name)
    drawn(4).save("4.png")
    done = predict("4.png", "b", "--json")
    assert [(line["file"], line["label"]) for line in done.objects] == [
        ("4.png", 4),
        ("b/2.png", 2),
        ("b/3.png", 3),
        ("b/deeper/1.png", 1),
    ]


@pytest.mark.parametrize("count", [99, 100, 101, 250])
def test_every_image_of_many_is_answered_once_and_in_order(predict, count):
    Path("many").mkdir()
    content = [png(drawn(digit)) for digit in range(10)]
    for number in range(count):
        Path(f"many/{number:03}.png").write_bytes(content[number % 10])
    done = predict("many", "--json")
    assert [line["label"] for line in done.objects] == [number % 10 for number in range(count)]


def test_a_bad_file_does_not_stop_the_others(predict):
    drawn(7).save("seven.png")
    Path("text.png").write_text("a text")
    Path("empty").mkdir()
    done = predict("absent.png", "text.png", "empty", "seven.png")
    assert done.status == 1
    assert [row[:2] for row in done.rows] == [["seven.png", "7"]]
    assert done.err.splitlines() == [
        "error: empty: a folder without images",
        "error: absent.png: missing",
        "error: text.png: not an image of the formats PNG, JPEG, BMP, GIF, TIFF, WEBP",
    ]


def test_with_bad_files_alone_nothing_is_predicted(predict):
    Path("empty").mkdir()
    assert predict("empty", "--save", "sheet.png")[:2] == (1, "")
    assert predict("absent.png", "--json", "--save", "sheet.png")[:2] == (1, "")
    assert not Path("sheet.png").exists()


@pytest.mark.parametrize("name", ["two\nlines.png", "\x1b[31mred.png", b"\xff.png"])
def test_a_name_cannot_break_a_line(predict, name):
    name = name if isinstance(name, str) else name.decode(errors="surrogateescape")
    Path(name).write_bytes(png(drawn(7)))
    done = predict(name, f"no {name}")
    assert [len(part.splitlines()) for part in (done.out, done.err)] == [2, 1]
    assert (done.out + done.err).replace("\n", "").isprintable()
    (line,) = predict(name, "--json").objects
    assert line["file"] == name


@pytest.mark.parametrize("count", [1, 9, 210])
def test_a_sheet_shows_what_the_network_saw(predict, count, monkeypatch):
    drawings = {}
    monkeypatch.setattr(plots, "predictions", recorder(drawings, plots.predictions))
    Path("many").mkdir()
    for number in range(count):
        drawn(number % 10).save(f"many/{number:03}.png")
    assert predict("many", "--save", "sheet.png").status == 0
    pixels, names, answers, confidences = drawings["arguments"]
    shown = min(count, 200)
    assert names == [f"{number:03}.png" for number in range(shown)]
    assert answers == [str(number % 10) for number in range(shown)]
    assert ((confidences > 0.1) & (confidences <= 1)).all()
    assert pixels.shape == (shown, 28, 28)
    np.testing.assert_array_equal(pixels[0], prepared(drawn(0))[0])
    with Image.open("sheet.png") as sheet:
        assert sheet.format == "PNG"


def recorder(calls, function):
    def record(*arguments):
        calls["arguments"] = arguments
        return function(*(argument[:9] for argument in arguments))

    return record


def test_a_sheet_has_every_image_under_its_name_and_answer():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    names = ["7.png", "costs $5 or $6.png", "short"]
    figure = plots.predictions(pixels, names, ["7", "1", "0"], np.array([0.5, 0.25, 1]))
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == [
        "7.png\n7  (50.0%)",
        "… $5 or $6.png\n1  (25.0%)",
        "short\n0  (100.0%)",
    ]
    for axes, image in zip(shown, pixels, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), image)
    figure.savefig(io.BytesIO())


@pytest.mark.filterwarnings("error")
def test_a_sheet_names_what_its_font_cannot_write(predict):
    drawn(7).save("七.png")
    assert predict("七.png", "--save", "sheet.png").status == 0
    assert Path("sheet.png").exists()


def test_a_sheet_that_cannot_be_written_is_an_error_of_one_line(predict):
    drawn(7).save("seven.png")
    Path("folder.png").mkdir()
    done = predict("seven.png", "--save", "folder.png")
    assert [row[:2] for row in done.rows] == [["seven.png", "7"]]
    assert done.status.startswith("error: folder.png: cannot be written (")
    assert done.status.isprintable()


@pytest.mark.parametrize(
    ("sheet", "reason"),
    [
        ("./seven.png", "is one of the images"),
        ("absent/sheet.png", "there is no folder absent"),
        ("sheet.jpg", "should be called so"),
    ],
)
def test_a_sheet_is_not_written_to_where_it_should_not_be(predict, sheet, reason):
    drawn(7).save("seven.png")
    before = Path("seven.png").read_bytes()
    assert reason in predict("seven.png", "--save", sheet).status
    assert Path("seven.png").read_bytes() == before
    assert not Path("absent").exists()


def test_a_model_that_is_not_there_is_an_error_of_one_line(predict):
    drawn(7).save("seven.png")
    done = predict("seven.png", "--model", "other.pth")
    assert (done.status, done.out) == ("error: other.pth: missing", "")


def test_a_model_can_be_another_file(predict):
    other = template_matcher()
    with torch.no_grad():
        other.classifier[-1].bias[2] += 1000
    model.save(other, "MNIST", Path("other.pth"))
    drawn(7).save("seven.png")
    assert predict("seven.png", "--model", "other.pth").rows[0][1] == "2"


def test_a_model_of_another_data_set_answers_with_its_classes(predict):
    model.save(template_matcher(), "FashionMNIST", Path("models/best_model.pth"))
    drawn(9).save("boot.png")
    done = predict("boot.png", "--save", "sheet.png")
    header, row = done.out.splitlines()

    assert header.split() == ["file", "product", "confidence", "runner-up", "confidence"]
    assert row.startswith("boot.png   Ankle boot ")
    assert len(header) == len(row)
    (line,) = predict("boot.png", "--json").objects
    assert (line["label"], line["name"]) == (9, "Ankle boot")
    assert line["confidence"] == line["probabilities"][9]


def test_a_model_of_a_data_set_that_is_not_known_is_refused(predict):
    model.save(template_matcher(), "EMNIST", Path("models/best_model.pth"))
    done = predict("seven.png")
    reason = "has learnt 'EMNIST', which this release does not know"
    assert (done.status, done.out) == (f"error: models/best_model.pth: {reason}", "")


@pytest.mark.parametrize(("side", "classes"), [(28, 12), (28, 1), (32, 10)])
def test_a_model_of_another_size_than_its_data_set_is_refused(predict, side, classes):
    network = DeepCNN([], [], image_size=side, classes=classes)
    model.save(network, "MNIST", Path("models/best_model.pth"))
    done = predict("seven.png")
    reason = f"is for images of {side} pixels and {classes} classes; MNIST has 28 and 10"
    assert (done.status, done.out) == (f"error: models/best_model.pth: {reason}", "")


@pytest.fixture
def registry(clone, monkeypatch):
    """A store with a registered model."""
    address = f"sqlite:///{clone.folder}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return clone


@pytest.mark.parametrize("name", ["mnist-cnn@champion", "mnist-cnn/1"])
def test_a_model_can_be_one_of_the_registry(predict, registry, name):
    drawn(7).save("seven.png")
    expected = predict("seven.png", "--json", "--model", registry.folder / "models/best_model.pth")
    done = predict("seven.png", "--json", "--model", name)
    assert (done.status, done.out) == (0, expected.out)
    assert done.err == ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("mnist-cnn@nobody", "nobody: not in the registry of", id="no-such-alias"),
        pytest.param("mnist-cnn/99", "99: not in the registry of", id="no-such-version"),
        pytest.param("other@champion", "champion: not in the registry of", id="no-such-model"),
        pytest.param(f"mnist-cnn/{10**20}", "not a registered model", id="no-number"),
        pytest.param("mnist-cnn", "mnist-cnn: not a registered model", id="no-version"),
        pytest.param("models/best_model.pt", "not a registered model", id="another-suffix"),
        pytest.param("@champion", "not a registered model", id="no-name"),
    ],
)
@pytest.mark.usefixtures("registry")
def test_a_name_that_is_not_in_the_registry_is_an_error_of_one_line(predict, name, reason):
    done = predict("seven.png", "--model", name)
    assert done.status.startswith("error: ")
    assert reason in done.status
    assert done.status.isprintable()


def test_a_registry_that_does_not_answer_is_an_error_of_one_line(predict, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    done = predict("seven.png", "--model", "mnist-cnn@champion")
    assert done.status.startswith("error: ")
    assert done.status.isprintable()


def test_the_script_runs_without_what_it_does_not_need():
    drawn(7).save("seven.png")
    command = [sys.executable, "-X", "importtime", SCRIPT, "seven.png", "absent.png"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].split()[:2] == ["seven.png", "7"]
    imports = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert set(done.stderr.splitlines()) - set(imports) == {"error: absent.png: missing"}
    modules = {line.rpartition("|")[2].strip() for line in imports}
    assert "torch" in modules
    assert not modules & {"mlflow", "matplotlib", "optuna", "sklearn", "pydantic"}


def test_a_reader_that_has_seen_enough_ends_it_without_a_word():
    drawn(7).save("seven.png")
    command = f"{sys.executable} {SCRIPT} {'seven.png ' * 3000} | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.split() == HEADER
    assert done.stderr == ""


def test_help_shows_every_option_and_an_example(predict):
    done = predict("--help")
    assert done.status == 0
    for words in ("--model", "--json", "--save", "mnist-cnn@champion", "examples:", "JPEG"):
        assert words in done.out
