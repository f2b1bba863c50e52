"""Classify images: files, folders, or standard input."""

import argparse
import json
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from mnist_cnn import console, files
from mnist_cnn.datasets import image_files
from mnist_cnn.errors import UserError
from mnist_cnn.inference import predictor
from mnist_cnn.inference.predictor import STANDARD_INPUT, Prediction
from mnist_cnn.learning import compute

BATCH = 100
THREADS = 1  # reading the images takes longer than the network does on one thread
UNKNOWN = "unknown"
SHEET = 200  # images; matplotlib draws about thirty a second

EPILOG = """\
For MNIST an image shows one digit, dark on light or light on dark, anywhere and of any size. An
image of two digits side by side is an error. For a data set of photographs, the whole image is
resized. An image unlike those that the network was trained on is "unknown"; the runner-up is then
its most probable class. Look at the sheet of --save when a prediction surprises you.

With --json, each line is an object: "file"; "label" and "name", of the predicted class, null if it
is unknown; "confidence", the highest probability; "familiarity", at most 1, negative if it is
unknown; "probabilities", those of all labels from 0.

Images that cannot be read are reported on standard error, and the exit status is 1.

examples:
  python src/predict.py seven.png
  python src/predict.py scans/ --json | jq .label
  python src/predict.py photo.jpg --save inputs.png --model mnist-cnn@champion
"""


def main() -> None:
    """Print a prediction for each image."""
    options = _options()
    names, errors = _expand(options.images)
    if options.save:
        _check_sheet(options.save, names)
    compute.configure(THREADS)
    loaded = predictor.load(options.model)
    # End silently when the reader of a pipe ends, as `head` does.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    classes = loaded.dataset.classes
    header = ("file", loaded.dataset.noun, "confidence", "runner-up", "confidence")
    widths = _widths(header, names, classes)
    if names and not options.json:
        console.write(_line(header, widths))
    sheet: list[Prediction] = []
    with console.progress_bar(len(names), "images", "image") as bar:
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            predictions, unreadable = loaded.predict_files(batch)
            for prediction in predictions:
                row = _json if options.json else _row
                console.write(row(prediction, classes, widths))
            sheet += predictions[: SHEET - len(sheet)]
            errors += unreadable
            bar.update(len(batch))
    for error in errors:
        print(f"error: {_printable(str(error))}", file=sys.stderr)
    if options.save and sheet:
        _save(options.save, sheet, classes)
    if errors:
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help=f"a file ({', '.join(image_files.SUFFIXES)}), a folder with images, "
        f"or {STANDARD_INPUT} for standard input",
    )
    predictor.add_model_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of a table")
    parser.add_argument(
        "--save",
        type=Path,
        metavar="PNG",
        help=f"plot the inputs of the network for the first {SHEET} images",
    )
    return parser.parse_args()


def _expand(arguments: Sequence[str]) -> tuple[list[str], list[UserError]]:
    """The names of all images, those in folders included, and errors for other arguments."""
    names: list[str] = []
    errors: list[UserError] = []
    for argument in arguments:
        if argument == STANDARD_INPUT:
            names.append(argument)
            continue
        try:
            names += map(str, image_files.find(Path(argument)))
        except UserError as error:
            errors.append(error)
    return names, errors


def _check_sheet(path: Path, names: Sequence[str]) -> None:
    """Raise `UserError` if the sheet should not be written to this path."""
    if path.suffix.lower() != ".png":
        raise UserError(f"{path}: the sheet is a PNG file, so its name must end in .png")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}")
    if path.resolve() in {Path(name).resolve() for name in names}:
        raise UserError(f"{path}: is one of the images")


def _widths(header: Sequence[str], names: Sequence[str], classes: Sequence[str]) -> list[int]:
    """The widths of the columns of the table."""
    name = max((len(_printable(name)) for name in names), default=0)
    label = max(map(len, (*classes, UNKNOWN)))
    return [*map(max, map(len, header), (name, label, 0, label, 0))]


def _row(prediction: Prediction, classes: Sequence[str], widths: Sequence[int]) -> str:
    ranked = [(classes[label], f"{value:.2%}") for label, value in prediction.ranked()[:2]]
    if prediction.familiarity < 0:
        ranked = [(UNKNOWN, ""), ranked[0]]
    (best, confidence), (second, rest) = ranked
    return _line((_printable(prediction.name), best, confidence, second, rest), widths)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """A line of the table: the first cell left-aligned, the others right-aligned."""
    first, *others = widths
    return "  ".join([cells[0].ljust(first), *map(str.rjust, cells[1:], others)])


def _json(prediction: Prediction, classes: Sequence[str], _widths: Sequence[int]) -> str:
    best, confidence = prediction.ranked()[0]
    known = prediction.familiarity >= 0
    return json.dumps(
        {
            "file": prediction.name,
            "label": best if known else None,
            "name": classes[best] if known else None,
            "confidence": confidence,
            "familiarity": prediction.familiarity,
            "probabilities": prediction.probabilities.tolist(),
        }
    )


def _save(path: Path, sheet: Sequence[Prediction], classes: Sequence[str]) -> None:
    # matplotlib takes its time to import, and only the sheet needs it.
    from mnist_cnn.evaluation import plots  # noqa: PLC0415

    titles = []
    for prediction in sheet:
        name = Path(_printable(prediction.name)).name
        label, confidence = prediction.ranked()[0]
        shown = name if len(name) <= 14 else f"…{name[-13:]}"
        unknown = prediction.familiarity < 0
        titles.append(f"{shown}\n{UNKNOWN if unknown else f'{classes[label]}  ({confidence:.1%})'}")
    figure = plots.image_sheet([prediction.pixels for prediction in sheet], titles)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # in a name of another script
            files.write_png(path, figure)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def _printable(text: str) -> str:
    """Text as it is, or escaped if it would break a line or cannot be printed."""
    return text if text.isprintable() else ascii(text)


if __name__ == "__main__":
    console.run(main)
