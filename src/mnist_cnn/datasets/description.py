"""What a data set is: its form, its classes, where it comes from, and words about it.

A file `datasets/<name>.yaml` describes a data set. `download` makes `data/<name>/` from it.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from mnist_cnn import yaml_files
from mnist_cnn.errors import UserError
from mnist_cnn.yaml_files import Section

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""The files with the images and the labels of each split, in MNIST and its family."""
IDX_NAMES = tuple(name for pair in IDX_FILES.values() for name in pair)

Digest = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Fraction = Annotated[float, Field(gt=0, lt=1)]
_NAME = r"^\w[\w.-]*$"
Name = Annotated[str, Field(pattern=_NAME)]
"""A name for folders, files and MLflow."""


def _check_text(text: str) -> str:
    if text.strip() and text.isprintable():
        return text
    raise ValueError("expected printable text in one line")


Text = Annotated[str, AfterValidator(_check_text)]


class Form(NamedTuple):
    """The form of the images of a data set, in pixels, and the number of its classes."""

    channels: int
    height: int
    width: int
    classes: int

    def __str__(self) -> str:
        """The form in a few words."""
        return (
            f"{self.height} × {self.width} pixels, {self.channels} channels, {self.classes} classes"
        )


class Object(Section):
    """How an image from elsewhere becomes an input: one object on a background is cut out."""

    size: PositiveInt
    """Pixels of the longer side of the object in an input; 20 in MNIST."""
    strokes: bool
    """Whether the object is drawn with white strokes, instead of many grey levels."""


class Metadata(Section):
    """The facts that a model needs, in `data/<name>/dataset.json` and in the `.pth`."""

    name: Name
    """The name of the folder and of the file."""
    title: Text
    """The name that its authors use."""
    noun: Text
    """What an image shows, in one word with the plural in "s"."""
    channels: Literal[1, 3]
    """1 for grey images, 3 for red, green and blue."""
    height: PositiveInt
    width: PositiveInt
    classes: Annotated[tuple[Text, ...], Field(min_length=2, strict=False)]
    """The name of each class, by label."""
    object: Object | None = None
    """If there is none, images from elsewhere are resized, as those of the data set were."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.object and (self.channels, self.height) != (1, self.width):
            raise ValueError("an object is cut out for square grey images only")
        if self.object and self.object.size > self.height:
            raise ValueError(f"an object of {self.object.size} pixels does not fit the image")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("two classes have the same name")
        return self

    @property
    def form(self) -> Form:
        """The form of the images, and the number of classes."""
        return Form(self.channels, self.height, self.width, len(self.classes))


class IdxFiles(Section):
    """The four IDX files of MNIST or of a data set of its form."""

    kind: Literal["idx"]
    torchvision: str
    """The name of its class in torchvision, which knows mirrors."""
    sha256: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]
    """The digest of each of the four files, or of its `.gz`, by name."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sorted(name.removesuffix(".gz") for name in self.sha256) != sorted(IDX_NAMES):
            raise ValueError(f"sha256 has other files than {', '.join(IDX_NAMES)}")
        return self


class ImageFolder(Section):
    """A folder with a sub-folder of images for each class.

    If it has folders `train` and `test`, these have the sub-folders. Else `test_fraction` of each
    class is the test set.
    """

    kind: Literal["folder"]
    path: str
    test_fraction: Fraction | None = None


class Npz(Section):
    """Arrays in a NumPy archive.

    It has `train_images`, `train_labels`, `test_images` and `test_labels`; or `images` and
    `labels`, of which `test_fraction` of each class is the test set. Images are `uint8 (n, height,
    width)`, `(n, channels, height, width)` or `(n, height, width, channels)`.
    """

    kind: Literal["npz"]
    path: str
    test_fraction: Fraction | None = None


class Torchvision(Section):
    """A data set of torchvision, downloaded by torchvision."""

    kind: Literal["torchvision"]
    name: str
    """The name of its class, such as `CIFAR10`."""
    train: dict[str, Any]
    """The arguments for the training set, such as `{train: true}`."""
    test: dict[str, Any]
    first_label: int = 0
    """The label of the first class: 1 for the letters of EMNIST."""


Source = Annotated[IdxFiles | ImageFolder | Npz | Torchvision, Field(discriminator="kind")]


class Digests(Section):
    """The MD5 of all pixels and labels of each split."""

    train: Digest
    test: Digest


class Description(Metadata):
    """A data set, with what only `download` and the model card need."""

    source: Source
    digests: Digests | None = None
    """Without them, whatever the source has is taken."""
    model: Name
    """The name of its models in the registry."""
    subject: Text
    """What an image shows, such as "handwritten digit"."""
    licence: str = "a licence that its description does not name"
    """The licence of the images."""
    intended_use: str = "For images like those of the data set."
    """A paragraph for the card: what a model is for, and what it is not for."""
    test_set: str = ""
    """How far test metrics can be trusted."""
    disputed: Annotated[tuple[NonNegativeInt, ...], Field(strict=False)] = ()
    """Indices of test images whose label is probably wrong."""
    origin: str = ""
    """Who made the images, and what they do not show."""
    hugging_face_id: str | None = None
    """Its name on Hugging Face, such as `ylecun/mnist`."""
    citation: str = ""
    """The citation of the publication."""

    def metadata(self) -> Metadata:
        """The part that models know."""
        return Metadata.model_validate(self.model_dump(include=set(Metadata.model_fields)))


def path(name: str) -> Path:
    """The file that describes a data set."""
    return Path("datasets", f"{name}.yaml")


def load(name: str) -> Description:
    """The description of a data set. Raises `UserError` if there is none, or an invalid one."""
    if not re.fullmatch(_NAME, name):
        raise UserError(f"{name!r} is not the name of a data set")
    file = path(name)
    if not file.exists():
        raise UserError(f"{file}: missing; `python src/describe.py FOLDER` writes such a file")
    described = yaml_files.validate(file, yaml_files.read(file), Description)
    if described.name != name:
        raise UserError(f"{file}: its name is {described.name!r}")
    return described


def resolve(text: str) -> Path:
    """The path of a source: variables and `~` are expanded; a relative one starts at the project.

    An experiment runs in a copy of the project, whose root is in `DVC_ROOT`.
    """
    path = Path(os.path.expandvars(text)).expanduser()
    return Path(os.environ.get("DVC_ROOT", "."), path).resolve()
