"""Work is found again until it is recorded, and done by one process at a time."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

from mnist_cnn import stores, work
from mnist_cnn.errors import FailedWorkError, UserError
from mnist_cnn.provenance import Provenance

import pytest
import yaml

ORIGIN = Provenance(
    "train", {"train": {"seed": 0}}, {"src/train.py": "abc"}, {"x": "1"}, "cpu", {"PyTorch": "AVX2"}
)
OTHER = replace(ORIGIN, params={"train": {"seed": 1}})


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def record(origin):
    """What DVC writes when the stage has ended."""
    deps = [{"path": path, "md5": md5} for path, md5 in origin.inputs.items()]
    stage = {"deps": deps, "params": {"params.yaml": origin.params}}
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {origin.stage: stage}}))


def do(origin=ORIGIN):
    """Do the work; return its name."""
    with work.claim(origin) as task:
        (task.folder / "checkpoint.pt").write_text("state")
    return task.name


def stop(error):
    """Do part of the work; return it."""
    with suppress(error), work.claim(ORIGIN) as task:
        (task.folder / "checkpoint.pt").write_text("state")
        raise error
    return task


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError, OSError])
def test_work_that_was_stopped_is_continued_with_its_state(error):
    first = stop(error)
    record(ORIGIN)  # as in a clone that has its `dvc.lock` from git

    with work.claim(ORIGIN) as second:
        assert second == first
        assert (second.folder / "checkpoint.pt").read_text() == "state"


def test_work_that_is_finished_is_kept_until_it_is_recorded():
    first = do()
    assert do() == first

    record(ORIGIN)
    with work.claim(ORIGIN) as again:
        assert again.name != first
        assert not (again.folder / "checkpoint.pt").exists()


def test_work_that_failed_is_not_continued():
    with pytest.raises(FailedWorkError), work.claim(ORIGIN) as first:
        raise FailedWorkError("diverged")

    assert do() != first.name


def test_other_work_has_a_name_and_a_folder_of_its_own():
    with work.claim(ORIGIN) as one, work.claim(OTHER) as other:
        assert one.name != other.name
        assert one.folder != other.folder


def test_the_same_work_in_another_clone_has_another_name(project, monkeypatch):
    first = do()
    (project / "clone").mkdir()
    monkeypatch.chdir(project / "clone")

    assert do() != first


def test_what_is_recorded_is_swept_and_nothing_else():
    do()
    kept = do(OTHER)
    record(ORIGIN)
    work.sweep()

    assert do(OTHER) == kept
    left = [path for path in stores.checkpoints().glob("*") if ORIGIN.fingerprint in path.name]
    assert left == []


def hold(begun, end):
    with work.claim(ORIGIN):
        begun.set()
        end.wait()


@pytest.fixture
def other():
    """A process that is at the work, and the event that lets it end."""
    context = multiprocessing.get_context("spawn")
    begun, end = context.Event(), context.Event()
    process = context.Process(target=hold, args=(begun, end), daemon=True)
    process.start()
    assert begun.wait(60)
    yield process, end
    process.kill()
    process.join()


@pytest.mark.parametrize("killed", [False, True], ids=["ended", "killed"])
def test_a_second_process_waits_for_the_first(other, monkeypatch, killed):
    process, end = other
    name = next(stores.checkpoints().glob("*/name")).read_text()
    said = SimpleQueue()
    monkeypatch.setattr(work.console, "say", lambda line, **_: said.put(line))

    with ThreadPoolExecutor(1) as thread:
        second = thread.submit(do)
        try:
            assert said.get(timeout=60).startswith("another process is at this very train")
            assert not second.done()
        finally:  # or the thread would wait for ever
            process.kill() if killed else end.set()
        assert second.result() == name


def test_work_that_a_process_is_at_is_not_swept(other):
    process, end = other
    (name,) = stores.checkpoints().glob("*/name")
    (name.parent / "finished").touch()
    record(ORIGIN)

    work.sweep()

    assert name.exists()
    end.set()
    process.join()
    record(ORIGIN)
    work.sweep()
    assert not name.exists()


def test_a_record_from_before_the_work_is_no_record_of_it():
    record(ORIGIN)  # as from git
    first = do()
    work.sweep()

    assert do() == first


def test_an_empty_record_is_no_record():
    first = do()
    Path("dvc.lock").write_text("")

    assert do() == first
