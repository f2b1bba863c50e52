"""Describe a folder of images or a NumPy archive as a data set, in `datasets/<name>.yaml`."""

import argparse
from pathlib import Path
from typing import Any

from mnist_cnn import console, yaml_files
from mnist_cnn.datasets import description, image_files, image_folder, npz, params, sources
from mnist_cnn.datasets.description import Description
from mnist_cnn.errors import UserError

import numpy as np

EPILOG = """\
A folder has a sub-folder of images for each class, or such folders in `train` and `test`. A NumPy
archive (.npz) has the arrays images and labels, or train_images, train_labels, test_images and
test_labels. Without a test set of its own, a part of each class becomes one.

The description names the source, the form of the images, the classes and the digests of all
examples. Correct its words; then name it in params.yaml: `download.dataset`.

examples:
  python src/describe.py ~/pictures/flowers --noun flower
  python src/describe.py digits.npz --name Digits --test-fraction 0.25
"""

MAX_SIDE = 64  # of images, unless another size is wanted


def main() -> None:
    """Write the description, unless there is one of this name."""
    options = _options()
    source = options.source.expanduser().resolve()
    name = options.name or (source.name if source.is_dir() else source.stem)
    target = description.path(name)
    if target.exists() and not options.force:
        raise UserError(f"{target} exists; --force describes the data again")
    read = _describe_folder if source.is_dir() else _describe_archive
    before = yaml_files.read(target) if target.exists() else {}
    fields = _merge(before, read(options, source), options, name)
    described = yaml_files.validate(target, fields, Description)
    download = params.Download(dataset=name, sources=("folder",), timeout=10)
    splits = sources.read(described, download, console.write)
    fields["digests"] = {split: arrays.digest() for split, arrays in splits.items()}
    yaml_files.write(target, fields)
    for split, arrays in splits.items():
        console.write(f"{split}: {len(arrays.labels):,} images")
    console.write(f"{target}: {described.form}; name it in params.yaml, download.dataset: {name}")


def _merge(
    before: dict[str, Any], found: dict[str, Any], options: argparse.Namespace, name: str
) -> dict[str, Any]:
    """What was found, and what a former description says unless an option says otherwise."""
    words = {"name": name, "title": name, "noun": "object", "subject": "object"}
    given: dict[str, Any] = {"noun": options.noun, "subject": options.noun} if options.noun else {}
    if options.size:
        given |= {"height": options.size[0], "width": options.size[1]}
    if options.grey:
        given["channels"] = 1
    if len(before.get("classes", ())) != len(found["classes"]) or found["source"]["kind"] != "npz":
        given["classes"] = found["classes"]  # a folder has their names
    model = {"model": f"{name.lower()}-cnn"}
    return words | found | model | before | given | {"source": found["source"]}


def _describe_folder(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The form and the classes of a folder of images."""
    classes = image_folder.classes(folder)
    if not classes:
        raise UserError(f"{folder}: has no folder for each class")
    height, width = options.size or _usual_size(folder)
    return {
        "channels": 1 if options.grey else 3,
        "height": height,
        "width": width,
        "classes": classes,
        "source": _source(options, folder, "folder", own_test=image_folder.has_splits(folder)),
    }


def _usual_size(folder: Path) -> tuple[int, int]:
    """The median height and width of the images, scaled down to `MAX_SIDE` if they are larger."""
    shapes = [image_files.read_planes(path, 3).shape[1:] for path in image_files.find(folder)]
    height, width = np.median(shapes, axis=0)
    scale = min(1.0, MAX_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _describe_archive(options: argparse.Namespace, path: Path) -> dict[str, Any]:
    """The form and the classes of the arrays in an archive."""
    splits = npz.read_archive(path)
    form = splits["train"].form
    return {
        "channels": form.channels,
        "height": form.height,
        "width": form.width,
        "classes": [str(label) for label in range(form.classes)],
        "source": _source(options, path, "npz", own_test="test" in splits),
    }


def _source(
    options: argparse.Namespace, path: Path, kind: str, *, own_test: bool
) -> dict[str, Any]:
    """The source as the description names it, with the part that becomes the test set."""
    named = {"kind": kind, "path": options.path or str(path)}
    return named if own_test else named | {"test_fraction": options.test_fraction}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a folder, or a .npz file")
    parser.add_argument("--name", help="of the data set (default: that of the source)")
    parser.add_argument("--noun", help="what an image shows, in one word (default: object)")
    parser.add_argument(
        "--size", type=_size, metavar="HEIGHTxWIDTH", help="of the images (default: the usual one)"
    )
    parser.add_argument("--grey", action="store_true", help="one channel instead of three")
    parser.add_argument(
        "--test-fraction",
        type=float,
        default=0.2,
        metavar="FRACTION",
        help="of each class that becomes the test set, if there is none (default: %(default)s)",
    )
    parser.add_argument(
        "--path", help="the source as the description names it, such as $FLOWERS (default: SOURCE)"
    )
    parser.add_argument(
        "--force", action="store_true", help="describe the data again, and keep the words"
    )
    return parser.parse_args()


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, such as 32x32")
    return int(height), int(width)


if __name__ == "__main__":
    console.run(main)
