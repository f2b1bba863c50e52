"""A job is resumed until DVC has recorded it, and one process at a time runs it.

Two locks exclude each other in one process as they do in two.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

from mnist_cnn import stores
from mnist_cnn.errors import FailedJobError, UserError
from mnist_cnn.reproduce import jobs
from mnist_cnn.reproduce.provenance import Inputs

import pytest
import yaml

INPUTS = Inputs(
    "train", {"train": {"seed": 0}}, {"src/train.py": "abc"}, {"torch": "1"}, "cpu", {"MKL": "AVX2"}
)
OTHER = replace(INPUTS, params={"train": {"seed": 1}})


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)


def record(inputs=INPUTS, seconds=60):
    """Write `dvc.lock` as DVC does when a stage ends, so many seconds from now."""
    deps = [{"path": path, "md5": md5} for path, md5 in inputs.files.items()]
    stage = {"deps": deps, "params": {"params.yaml": inputs.params}}
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {inputs.stage: stage}}))
    os.utime("dvc.lock", (time.time() + seconds,) * 2)


def run(inputs=INPUTS, error=None):
    """Run a job until it ends, or until `error`; return it."""
    with suppress(error or ()), jobs.claim(inputs) as job:
        (job.folder / "checkpoint.pt").touch()
        if error:
            raise error
    return job


def checkpoint(job):
    return job.folder / "checkpoint.pt"


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError, OSError])
def test_an_interrupted_job_is_resumed_with_its_state(error):
    interrupted = run(error=error)
    record()  # as in a clone with the `dvc.lock` of a commit
    with jobs.claim(INPUTS) as resumed:
        assert resumed == interrupted
        assert checkpoint(resumed).exists()


@pytest.mark.parametrize(
    "write_lock",
    [
        lambda: None,
        lambda: Path("dvc.lock").touch(),
        lambda: record(OTHER),
        lambda: record(seconds=-60),
    ],
    ids=["none", "empty", "other inputs", "earlier"],
)
def test_a_finished_job_is_kept_until_it_is_recorded(write_lock):
    finished = run()
    write_lock()
    assert run() == finished


def test_a_recorded_job_starts_again():
    recorded = run()
    record()
    with jobs.claim(INPUTS) as job:
        assert job.name != recorded.name
        assert not checkpoint(job).exists()


def test_a_failed_job_starts_again():
    failed = run(error=FailedJobError)
    assert not failed.folder.exists()
    assert run().name != failed.name


def test_jobs_with_other_inputs_run_at_the_same_time():
    with jobs.claim(INPUTS) as one, jobs.claim(OTHER) as other:
        assert one.name != other.name
        assert one.folder != other.folder


def test_the_same_job_in_another_clone_has_another_name(tmp_path, monkeypatch):
    first = run()
    (tmp_path / "clone").mkdir()
    monkeypatch.chdir(tmp_path / "clone")
    assert run().name != first.name


def test_the_state_of_recorded_jobs_alone_is_deleted():
    recorded, unfinished = run(), run(OTHER, KeyboardInterrupt)
    half_deleted = stores.checkpoints() / "tune-1.deleted"
    of_an_early_version = stores.checkpoints() / "tune-2"
    for folder in (half_deleted, of_an_early_version):
        folder.mkdir()
        (folder / "finished").touch()
    record()

    jobs.delete_recorded()

    left = {path for path in stores.checkpoints().iterdir() if path.suffix != ".lock"}
    assert left == {unfinished.folder, of_an_early_version}
    assert not recorded.folder.with_suffix(".lock").exists()


def test_the_state_of_a_job_that_is_run_again_is_not_deleted():
    run()
    with ThreadPoolExecutor(1) as thread, jobs.claim(INPUTS) as job:
        record()
        thread.submit(jobs.delete_recorded).result()
        assert checkpoint(job).exists()
    record()
    jobs.delete_recorded()
    assert not job.folder.exists()


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, FailedJobError])
def test_a_second_process_waits_until_the_first_ends(monkeypatch, error):
    warnings = SimpleQueue()
    monkeypatch.setattr(jobs.console, "warn", warnings.put)
    with ThreadPoolExecutor(1) as thread:
        with suppress(error or ()), jobs.claim(INPUTS) as first:
            waiting = thread.submit(run)
            message = "another process runs this train; waiting until it ends"
            assert warnings.get(timeout=60) == message
            assert not waiting.done()
            if error:
                raise error
        second = waiting.result()

    assert (second.name == first.name) == (error is not FailedJobError)
    assert checkpoint(second).exists()
