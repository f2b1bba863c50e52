"""The script `predict.py`: arguments, output, and errors.

Most tests run it in this process, which saves the 2 seconds of its imports.
"""

import json
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from mnist_cnn.evaluation import plots
from mnist_cnn.learning import model
from mnist_cnn.learning.calibration import Calibration, fit_detector
from mnist_cnn.learning.data import Examples

import numpy as np
import pytest
import torch
from clone import ROOT
from described import DESCRIPTIONS
from drawings import draw, encode, template_network
from PIL import Image

SCRIPT = ROOT / "src/predict.py"
HEADER = ["file", "digit", "confidence", "runner-up", "confidence"]


class Done(NamedTuple):
    """What a run of the script ended with and printed."""

    status: int | str
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
    """The current folder, with a model of MNIST."""
    monkeypatch.chdir(tmp_path)
    model.save(template_network(), DESCRIPTIONS["MNIST"].metadata(), Path("models/best_model.pth"))


@pytest.fixture
def predict(monkeypatch, capsys):
    """Run the script in this process, and undo what it changes there."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments)])
        monkeypatch.setattr(sys, "path", list(sys.path))
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return Done(end.value.code, *capsys.readouterr())

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
    handlers = [signal.getsignal(number) for number in numbers]
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield run
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def test_the_table_has_a_row_for_each_file(predict):
    draw(7).save("seven.png")
    draw(3).convert("RGB").save("a name.jpg")
    done = predict("seven.png", "a name.jpg")
    assert (done.status, done.err) == (0, "")
    seven, three = done.rows
    assert seven[:2] == ["seven.png", "7"]
    assert three[:3] == ["a", "name.jpg", "3"]
    first, second = (float(seven[i].rstrip("%")) for i in (2, 4))
    assert first > second > 0
    assert len({len(line) for line in done.out.splitlines()}) == 1


def test_json_lines_have_all_probabilities(predict):
    for digit in (0, 7):
        draw(digit).save(f"{digit}.png")
    for digit, line in zip((0, 7), predict("0.png", "7.png", "--json").objects, strict=True):
        assert line.keys() == {
            *("file", "label", "name", "confidence", "familiarity", "probabilities"),
        }
        assert (line["file"], line["label"], line["name"]) == (f"{digit}.png", digit, str(digit))
        assert sum(line["probabilities"]) == pytest.approx(1)
        assert line["confidence"] == max(line["probabilities"]) == line["probabilities"][digit]


@pytest.mark.parametrize(("threshold", "known"), [(1e-9, False), (1e9, True)])
def test_an_image_beyond_the_threshold_is_unknown(predict, threshold, known):
    network, metadata, _ = model.load(Path("models/best_model.pth"))
    images = torch.randint(256, (500, 1, 28, 28), dtype=torch.uint8)
    examples = Examples(images, torch.arange(500) % 10)
    fitted = Calibration(1.0, threshold, fit_detector(network, examples))
    model.save(network, metadata, Path("strict.pth"), fitted)
    draw(7).save("seven.png")
    (row,) = predict("seven.png", "--model", "strict.pth").rows
    (line,) = predict("seven.png", "--model", "strict.pth", "--json").objects
    if known:
        assert (row[1], line["label"], line["name"]) == ("7", 7, "7")
    else:
        assert row[:3] == ["seven.png", "unknown", "7"]
        assert (line["label"], line["name"]) == (None, None)
    assert (line["familiarity"] > 0) is known


def test_a_folder_stands_for_the_images_in_it(predict):
    for name in ("4.png", "b/2.png", "b/deeper/1.png", "b/3.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        draw(Path(name).stem).save(name)
    labels = {line["file"]: line["label"] for line in predict("4.png", "b", "--json").objects}
    assert list(labels.items()) == [
        ("4.png", 4),
        ("b/2.png", 2),
        ("b/3.png", 3),
        ("b/deeper/1.png", 1),
    ]


def save_many(count):
    """Save drawings of the digits 0, 1, … in the folder `many`."""
    Path("many").mkdir()
    content = [encode(draw(digit)) for digit in range(10)]
    for number in range(count):
        Path(f"many/{number:03}.png").write_bytes(content[number % 10])


@pytest.mark.parametrize("count", [99, 100, 101, 250])
def test_each_of_many_images_is_classified_once_and_in_order(predict, count):
    save_many(count)
    done = predict("many", "--json")
    assert [line["label"] for line in done.objects] == [number % 10 for number in range(count)]


def test_files_that_cannot_be_read_are_reported_and_the_others_classified(predict):
    draw(7).save("seven.png")
    Path("text.png").write_text("a text")
    Path("empty").mkdir()
    done = predict("absent.png", "text.png", "empty", "seven.png")
    assert done.status == 1
    assert [row[:2] for row in done.rows] == [["seven.png", "7"]]
    assert done.err.splitlines() == [
        "error: empty: no images in this folder",
        "error: absent.png: missing",
        "error: text.png: not an image of the formats PNG, JPEG, BMP, GIF, TIFF, WEBP, AVIF",
    ]


def test_without_a_readable_image_nothing_is_printed_or_saved(predict):
    Path("empty").mkdir()
    assert predict("empty", "--save", "sheet.png")[:2] == (1, "")
    assert predict("absent.png", "--json", "--save", "sheet.png")[:2] == (1, "")
    assert not Path("sheet.png").exists()


@pytest.mark.parametrize("name", ["two\nlines.png", "\x1b[31mred.png", "\udcff.png"])
def test_the_name_of_a_file_cannot_break_a_line(predict, name):
    draw(7).save(name)
    done = predict(name, f"no {name}")
    assert [len(part.splitlines()) for part in (done.out, done.err)] == [2, 1]
    assert (done.out + done.err).replace("\n", "").isprintable()
    (line,) = predict(name, "--json").objects
    assert line["file"] == name


@pytest.fixture
def sheets(monkeypatch):
    """The figures that are drawn, each of the first nine images only, to save time."""
    drawn = []

    def image_sheet(images, titles):
        drawn.append((len(images), image_sheet_of(images[:9], titles[:9])))
        return drawn[-1][1]

    image_sheet_of = plots.image_sheet
    monkeypatch.setattr(plots, "image_sheet", image_sheet)
    return drawn


def test_a_sheet_shows_the_inputs_of_the_network(predict, sheets):
    for digit, name in enumerate(["0.png", "costs $5 or $6.png", "二.png"]):
        draw(digit).save(name)
    names = ["0.png", "costs $5 or $6.png", "二.png"]
    assert predict(*names, "--save", "sheet.png").status == 0
    ((_, figure),) = sheets
    shown = [axes for axes in figure.axes if axes.images]
    titles = [axes.get_title().split("  ")[0] for axes in shown]
    assert titles == ["0.png\n0", "… $5 or $6.png\n1", "二.png\n2"]
    assert all(0.1 < np.mean(axes.images[0].get_array() > 0) < 0.5 for axes in shown)
    with Image.open("sheet.png") as sheet:
        assert sheet.format == "PNG"


def test_a_sheet_shows_the_first_200_images(predict, sheets):
    save_many(210)
    assert predict("many", "--save", "sheet.png").status == 0
    assert [count for count, _ in sheets] == [200]


def test_a_sheet_that_cannot_be_written_is_an_error_after_the_predictions(predict):
    draw(7).save("seven.png")
    Path("folder.png").mkdir()
    done = predict("seven.png", "--save", "folder.png")
    assert [row[:2] for row in done.rows] == [["seven.png", "7"]]
    assert done.status == "error: folder.png: cannot be written (Is a directory)"


@pytest.mark.parametrize(
    ("sheet", "reason"),
    [
        ("./seven.png", "is one of the images"),
        ("absent/sheet.png", "there is no folder absent"),
        ("sheet.jpg", "the sheet is a PNG file, so its name must end in .png"),
    ],
)
def test_a_sheet_with_an_unsuitable_path_is_rejected_before_anything_else(predict, sheet, reason):
    content = encode(draw(7))
    Path("seven.png").write_bytes(content)
    assert predict("seven.png", "--save", sheet) == (f"error: {Path(sheet)}: {reason}", "", "")
    assert Path("seven.png").read_bytes() == content
    assert not Path("absent").exists()


def test_a_model_of_another_data_set_predicts_the_classes_of_that_one(predict):
    model.save(template_network(), DESCRIPTIONS["FashionMNIST"].metadata(), Path("fashion.pth"))
    draw(9).save("boot.png")
    header, row = predict("boot.png", "--model", "fashion.pth").out.splitlines()
    assert header.split() == ["file", "product", "confidence", "runner-up", "confidence"]
    assert row.startswith("boot.png   Ankle boot ")
    assert len(header) == len(row)
    (line,) = predict("boot.png", "--json", "--model", "fashion.pth").objects
    assert (line["label"], line["name"]) == (9, "Ankle boot")


def test_a_missing_model_is_an_error(predict):
    draw(7).save("seven.png")
    assert predict("seven.png", "--model", "other.pth") == ("error: other.pth: missing", "", "")


def test_the_model_can_be_the_champion_of_the_pipeline(predict, clone, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{clone.folder}/mlflow.db")
    draw(7).save("seven.png")
    expected = predict("seven.png", "--json", "--model", clone.folder / "models/best_model.pth")
    assert predict("seven.png", "--json", "--model", "mnist-cnn@champion") == expected
    assert (expected.status, expected.err) == (0, "")


def test_help_shows_every_option_and_an_example(predict):
    done = predict("--help")
    assert done.status == 0
    for text in ("--model", "--json", "--save", "mnist-cnn@champion", "examples:", "JPEG"):
        assert text in done.out


def test_a_process_reads_standard_input_and_imports_only_what_it_needs():
    draw(7).save("seven.png")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", SCRIPT, "seven.png", "-", "absent.png"],
        input=encode(draw(5)),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    rows = [line.split()[:2] for line in done.stdout.decode().splitlines()]
    assert rows == [HEADER[:2], ["seven.png", "7"], ["-", "5"]]
    lines = done.stderr.decode().splitlines()
    modules = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    assert [line for line in lines if not line.startswith("import time:")] == [
        "error: absent.png: missing"
    ]
    assert "torch" in modules
    assert not modules & {"mlflow", "matplotlib", "optuna", "sklearn"}


def test_a_process_ends_silently_when_the_reader_of_its_output_does():
    draw(7).save("seven.png")
    command = f"{sys.executable} {SCRIPT} {'seven.png ' * 3000} | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.split() == HEADER
    assert done.stderr == ""
