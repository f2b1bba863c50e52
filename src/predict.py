"""Say what images show, such as digits: of files, of folders, or from standard input."""

import argparse
import json
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mnist_cnn import choice, compute, console, images, model
from mnist_cnn.datasets import DatasetInfo
from mnist_cnn.errors import UserError

import numpy as np
import torch
from numpy.typing import NDArray

STANDARD_INPUT = "-"
BATCH = 100
THREADS = 1  # reading the images takes longer than the network does on one thread
SHEET = 200  # images; matplotlib draws about thirty a second

EPILOG = """\
An image shows one digit, dark on light or light on dark, in any place and of any size. The network
knows nothing but digits, and answers with one whatever it is shown: look at the sheet of --save
when an answer surprises. A network of Fashion-MNIST or KMNIST answers with one of their classes.

With --json each line is an object: "file"; "label", the digit, or the number of the class; "name",
that of the class; "confidence", the probability of it; "probabilities", those of the labels 0 to 9.

Images that cannot be read are named on standard error; the exit status is then 1.

examples:
  python src/predict.py seven.png
  python src/predict.py scans/ --json | jq .label
  python src/predict.py photo.jpg --save seen.png --model mnist-cnn@champion
"""


class Answer(NamedTuple):
    """What the network saw of a file, `uint8 (1, 28, 28)`, and its ten probabilities."""

    file: str
    pixels: NDArray[np.uint8]
    probabilities: NDArray[np.float64]

    def ranked(self) -> list[tuple[int, float]]:
        """Labels with their probabilities, the likeliest first."""
        order = (-self.probabilities).argsort(kind="stable")
        return [(int(label), float(self.probabilities[label])) for label in order]


def main() -> None:
    """Print what the network says of every image named on the command line."""
    options = _options()
    files, errors = _expand(options.images)
    if options.save:
        _check_sheet(options.save, files)
    network, about = choice.load(options.model)
    network = network.to(compute.configure(THREADS))
    # Where the reader of a pipe has seen enough, as `head` has, end without a word.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    classes, header = about.classes, ("file", about.thing, "confidence", "runner-up", "confidence")
    widths = _widths(header, files, classes)
    if files and not options.json:
        console.say(_line(header, widths))
    sheet: list[Answer] = []
    with console.progress(len(files), "images", "image") as bar:
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            answers, unreadable = _predict(network, about, batch)
            for answer in answers:
                row = _json(answer, classes) if options.json else _row(answer, classes, widths)
                console.say(row)
            sheet += answers[: SHEET - len(sheet)]
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
        help=f"a file ({', '.join(images.SUFFIXES)}), a folder with all images in it, "
        f"or {STANDARD_INPUT} for standard input",
    )
    choice.add_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of a table")
    parser.add_argument(
        "--save",
        type=Path,
        metavar="PNG",
        help=f"draw what the network saw, 28 × 28 pixels each, of the first {SHEET} images",
    )
    return parser.parse_args()


def _expand(arguments: Sequence[str]) -> tuple[list[str], list[UserError]]:
    """What is to be read, with the images of a folder in its place; and what is wrong with it."""
    files: list[str] = []
    errors: list[UserError] = []
    for argument in arguments:
        if argument == STANDARD_INPUT:
            files.append(argument)
            continue
        try:
            files += map(str, images.find(Path(argument)))
        except UserError as error:
            errors.append(error)
    return files, errors


def _check_sheet(path: Path, files: Sequence[str]) -> None:
    """Refuse a path to which no sheet should be written, before any work."""
    if path.suffix.lower() != ".png":
        raise UserError(f"{path}: the sheet is a PNG file, and should be called so")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}")
    if path.resolve() in {Path(file).resolve() for file in files}:
        raise UserError(f"{path}: is one of the images")


def _predict(
    network: model.DeepCNN, about: DatasetInfo, files: Sequence[str]
) -> tuple[list[Answer], list[UserError]]:
    """Answers for the files that show something, and what is wrong with the others."""
    named, errors = [], []
    for file in files:
        try:
            named.append((file, _see(file, about)))
        except UserError as error:
            errors.append(error)
    if not named:
        return [], errors
    pixels = torch.from_numpy(np.stack([image for _, image in named]))
    device = next(network.parameters()).device
    probabilities = model.predict(network, pixels.to(device)).cpu().numpy()
    return [Answer(*pair, row) for pair, row in zip(named, probabilities, strict=True)], errors


def _see(file: str, about: DatasetInfo) -> NDArray[np.uint8]:
    if file == STANDARD_INPUT:
        name = "standard input"
        grey = images.decode(sys.stdin.buffer.read(images.MAX_BYTES + 1), name)
    else:
        name = file
        grey = images.read(Path(file))
    return images.preprocess(grey, name, box=about.box, strokes=about.strokes)


def _widths(header: Sequence[str], files: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Of the columns of the table."""
    of_file = max((len(_printable(file)) for file in files), default=0)
    of_class = max(map(len, classes))
    return [*map(max, map(len, header), (of_file, of_class, 0, of_class, 0))]


def _row(answer: Answer, classes: Sequence[str], widths: Sequence[int]) -> str:
    (best, confidence), (second, rest) = answer.ranked()[:2]
    name = _printable(answer.file)
    cells = (name, classes[best], f"{confidence:.2%}", classes[second], f"{rest:.2%}")
    return _line(cells, widths)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Of the table: the first cell to the left, the others to the right."""
    first, *others = widths
    return "  ".join([cells[0].ljust(first), *map(str.rjust, cells[1:], others)])


def _json(answer: Answer, classes: Sequence[str]) -> str:
    best, confidence = answer.ranked()[0]
    return json.dumps(
        {
            "file": answer.file,
            "label": best,
            "name": classes[best],
            "confidence": confidence,
            "probabilities": answer.probabilities.tolist(),
        }
    )


def _save(path: Path, sheet: Sequence[Answer], classes: Sequence[str]) -> None:
    # Nothing else needs matplotlib, which takes its time to import.
    from mnist_cnn import files, plots  # noqa: PLC0415

    best = [answer.ranked()[0] for answer in sheet]
    figure = plots.predictions(
        np.concatenate([answer.pixels for answer in sheet]),
        [Path(_printable(answer.file)).name for answer in sheet],
        [classes[label] for label, _ in best],
        np.array([confidence for _, confidence in best]),
    )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # of a name in another script
            files.write_png(path, figure)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def _printable(text: str) -> str:
    """Text as it is, or escaped where it would break a line or cannot be written."""
    return text if text.isprintable() else ascii(text)


if __name__ == "__main__":
    console.run(main)
