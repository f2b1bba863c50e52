"""Runs are created, resumed and found in a real store, and read with MLflow's own client."""

import json
import shutil
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from mnist_cnn import stores
from mnist_cnn.errors import UserError
from mnist_cnn.files import md5
from mnist_cnn.learning.data import Examples
from mnist_cnn.learning.training import Epoch
from mnist_cnn.search.finalists import Finalist
from mnist_cnn.search.trial import Trial
from mnist_cnn.tracking.experiment import NAME, existing_store
from mnist_cnn.tracking.resume import resume_run, resume_run_by_output

import mlflow
import pytest
import torch
from clone import empty_store
from studies import make_tune

MODEL = Path("models/best_model.pth")
EXAMPLES = Examples(torch.zeros(5, 1, 28, 28, dtype=torch.uint8), torch.zeros(5, dtype=torch.long))


def train(job="train-1", **tags):
    return resume_run("train", job, tags)


@pytest.fixture
def trained(store):
    """A finished run that made `MODEL`."""
    MODEL.parent.mkdir()
    MODEL.write_bytes(b"weights")
    with train() as run:
        run.log_outputs(MODEL)
    return store.get_run(run.id)


def artifact(run, path):
    return Path(mlflow.artifacts.download_artifacts(run_id=run.id, artifact_path=path)).read_bytes()


def artifacts(store, run, folder=None):
    return [file.path for file in store.list_artifacts(run.id, folder)]


# Jobs


def test_a_deleted_experiment_is_an_error_with_the_command_that_restores_it(store):
    with train() as run:
        pass
    experiment = store.get_run(run.id).info.experiment_id
    store.delete_experiment(experiment)
    command = f"`mlflow experiments restore --experiment-id {experiment}`"
    with pytest.raises(UserError, match=f"experiment mnist-cnn was deleted; {command}"), train():
        pass
    store.restore_experiment(experiment)
    with train() as again:
        assert again.id == run.id


def test_a_run_has_the_name_of_its_stage_its_tags_and_its_parameters(store, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "article")
    with train(fingerprint="abc") as run:
        run.log_params({"seed": 0, "sampler": {"name": "tpe", "nested": {"key": 1}}})
        assert mlflow.active_run().info.run_id == run.id
    logged = store.get_run(run.id)
    assert (logged.info.run_name, logged.info.status) == ("train article", "FINISHED")
    assert logged.data.params == {"seed": "0", "sampler.name": "tpe", "sampler.nested.key": "1"}
    expected = {"stage": "train", "job": "train-1", "fingerprint": "abc"}
    assert logged.data.tags.items() >= (expected | {"dvc.experiment": "article"}).items()


def test_a_run_that_the_environment_names_is_left_alone(store, monkeypatch):
    with train() as other:
        pass
    before = store.get_run(other.id).to_dictionary()
    monkeypatch.setenv("MLFLOW_RUN_ID", other.id)
    with train("train-2") as run:
        assert run.id != other.id
    assert store.get_run(other.id).to_dictionary() == before


@pytest.mark.usefixtures("store")
def test_a_job_has_one_run():
    with train() as first:
        pass
    with train() as resumed:
        pass
    with train("train-2") as other:
        pass
    assert resumed.id == first.id != other.id


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")]
)
def test_the_status_of_a_run_shows_how_it_ended_until_it_is_resumed(store, error, status):
    with pytest.raises(error), train() as run:
        raise error
    assert store.get_run(run.id).info.status == status
    with train():
        assert store.get_run(run.id).info.status == "RUNNING"
    assert store.get_run(run.id).info.status == "FINISHED"


def test_the_note_of_the_experiment_can_be_changed(store):
    with train():
        pass
    experiment = store.get_experiment_by_name(NAME)
    assert "hyperparameters" in experiment.tags["mlflow.note.content"]
    assert experiment.artifact_location == str(Path("mlruns").resolve())
    store.set_experiment_tag(experiment.experiment_id, "mlflow.note.content", "our own")
    with train("train-2"):
        pass
    assert store.get_experiment_by_name(NAME).tags["mlflow.note.content"] == "our own"


# Outputs


def test_the_run_that_made_a_file_is_found_by_the_content_of_the_file(store, trained):
    assert trained.data.tags[f"md5 {MODEL}"] == md5(MODEL)
    with resume_run_by_output(MODEL, "train") as run:
        run.log_metrics({"accuracy": 0.5}, prefix="test_")
    found = store.get_run(run.id)
    assert run.id == trained.info.run_id
    assert found.data.metrics == {"test_accuracy": 0.5}
    assert artifact(run, str(MODEL)) == b"weights"
    # Its duration is that of the training.
    assert (found.info.status, found.info.end_time) == ("FINISHED", trained.info.end_time)


def test_of_several_runs_that_made_a_file_one_of_this_folder_is_resumed(store, trained):
    with train("train-2") as later:
        later.log_outputs(MODEL)
    with resume_run_by_output(MODEL, "train") as run:
        assert run.id == later.id
    store.set_tag(later.id, "workspace", "elsewhere:/project")
    with resume_run_by_output(MODEL, "train") as run:
        assert run.id == trained.info.run_id


def test_a_file_that_no_run_made_gets_a_run(store, trained):
    MODEL.write_bytes(b"other weights")
    with resume_run_by_output(MODEL, "train") as run:
        pass
    assert run.id != trained.info.run_id
    assert store.get_run(run.id).data.tags[f"md5 {MODEL}"] == md5(MODEL)


def test_a_training_stays_finished_if_its_evaluation_fails(store, trained):
    run_id, ended = trained.info.run_id, trained.info.end_time
    with pytest.raises(ValueError, match="bug"), resume_run_by_output(MODEL, "train"):
        raise ValueError("bug")
    info = store.get_run(run_id).info
    assert (info.status, info.end_time) == ("FINISHED", ended)

    # As kills leave it: during an evaluation, and between its end and the reset of the end time.
    store.update_run(run_id, status="RUNNING")
    store.set_terminated(run_id, "FINISHED", ended + 1000)
    with resume_run_by_output(MODEL, "train"):
        pass
    info = store.get_run(run_id).info
    assert (info.status, info.end_time) == ("FINISHED", ended)


# Everything that is logged


def test_an_epoch_is_logged_once(store):
    with train() as run:
        for epoch in (Epoch(1, 0.5, 0.8), Epoch(1, 0.5, 0.8), Epoch(2, 0.25, 0.9)):
            run.log_epoch(epoch)
    points = store.get_metric_history(run.id, "train/loss")
    assert [(point.step, point.value) for point in points] == [(1, 0.5), (2, 0.25)]
    assert store.get_run(run.id).data.metrics == {"train/loss": 0.25, "train/accuracy": 0.9}


def test_a_metric_is_logged_again_only_if_it_has_changed(store):
    with train() as run:
        for accuracy in (0.5, 0.5, 0.6):
            run.log_metrics({"accuracy": accuracy})
    points = store.get_metric_history(run.id, "accuracy")
    assert [point.value for point in points] == [0.5, 0.6]


def test_the_files_of_a_report_are_logged_under_its_name(store):
    for name in ("metrics.json", "plots/roc.png", ".metrics.json.7.partial", "plots/.gitignore"):
        path = Path("reports/train", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    with train() as run:
        run.log_folder(Path("reports/train"))
    assert artifacts(store, run, "train") == ["train/metrics.json", "train/plots"]
    assert artifacts(store, run, "train/plots") == ["train/plots/roc.png"]


def test_the_examples_of_a_run_are_an_input_with_their_digest(store):
    with train() as run:
        run.log_dataset("MNIST", "train", EXAMPLES, Path("images"))
    logged = store.get_run(run.id)
    (given,) = logged.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("mnist-train", EXAMPLES.digest())
    assert given.tags[0].value == "training"
    assert logged.data.tags["dataset"] == "MNIST"


def test_the_provenance_is_that_of_the_last_attempt(store):
    with train() as run:
        run.log_provenance("train", {"commit": "a"}, b"caf\xe9\r\n")
        assert json.loads(artifact(run, "provenance/train.json")) == {"commit": "a"}
        assert artifact(run, "provenance/train.patch") == b"caf\xe9\r\n"
        run.log_provenance("train", {"commit": "b"}, b"")
        assert json.loads(artifact(run, "provenance/train.json")) == {"commit": "b"}
        assert artifact(run, "provenance/train.patch") == b""
        run.log_provenance("evaluate", {}, b"")
    assert artifacts(store, run, "provenance") == [
        f"provenance/{name}" for name in ("evaluate.json", "train.json", "train.patch")
    ]


# Trials


def trial(number=0, state="complete", error=None):
    history = (Epoch(1, 1.0, 0.1, 0.9, 0.1), Epoch(2, 0.5, 0.2, 0.8, 0.2))
    times = (100.0, 101.0, 102.0, 103.0)
    return Trial(number, {"learning_rate": 0.1}, state, history, times, 0.2, error)


def children(store, run):
    experiment = store.get_experiment_by_name(NAME)
    return store.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{run.id}'")


@pytest.mark.parametrize(
    ("state", "error", "status"),
    [
        ("complete", None, "FINISHED"),
        ("pruned", None, "KILLED"),
        ("failed", "Traceback: …", "FAILED"),
    ],
)
def test_a_trial_is_a_nested_run(store, state, error, status):
    with resume_run("tune", "tune-1", {"git.commit": "abc"}) as run:
        run.log_dataset("MNIST", "train", EXAMPLES, Path("images"))
        run.log_trial(trial(7, state, error), make_tune(hyperparameters={"dropout": 0.5}))
    (child,) = children(store, run)
    assert (child.info.run_name, child.info.status) == ("trial-007 1", status)
    assert (child.info.start_time, child.info.end_time) == (100_000, 103_000)
    assert child.data.params == {"dropout": "0.5", "learning_rate": "0.1"}
    expected = {"stage": "trial", "state": state, "git.commit": "abc", "dataset": "MNIST"}
    expected |= {"mlflow.user": store.get_run(run.id).data.tags["mlflow.user"]}
    assert child.data.tags.items() >= expected.items()
    assert child.data.tags["mlflow.note.content"] == (
        f"**Trial 7** of a search: {state} after 2 epochs, validation accuracy **20.00%**.\n\n"
        f"Reproduce it: `python src/reproduce.py {child.info.run_id}`\n"
    )
    (given,) = child.inputs.dataset_inputs
    assert given.dataset.digest == EXAMPLES.digest()
    points = store.get_metric_history(child.info.run_id, "validation/accuracy")
    assert [(point.step, point.value, point.timestamp) for point in points] == [
        (1, 0.1, 101_000),
        (2, 0.2, 102_000),
    ]
    logged = [file.path for file in store.list_artifacts(child.info.run_id)]
    assert logged == (["error.txt"] if error else [])


def test_a_trial_that_failed_in_its_first_epoch_is_logged_without_metrics(store):
    with train() as run:
        run.log_trial(Trial(0, {}, "failed", (), (100.0, 103.0), None, "Traceback: …"), make_tune())
    (child,) = children(store, run)
    assert child.data.metrics == {}
    note = child.data.tags["mlflow.note.content"]
    assert note.startswith("**Trial 0** of a search: failed after 0 epochs.\n")


def test_each_training_of_a_finalist_is_a_nested_run(store):
    trainings = (trial(7), trial(7, "failed", "Traceback: …"))
    with resume_run("tune", "tune-1", {}) as run:
        run.log_trial(trial(7), make_tune())
        for _ in range(2):
            run.log_finalist(Finalist(trial(7), trainings), make_tune())
    logged = {child.info.run_name: child for child in children(store, run)}
    assert sorted(logged) == ["finalist-007-0 1", "finalist-007-1 1", "trial-007 1"]
    complete, failed = logged["finalist-007-0 1"], logged["finalist-007-1 1"]
    expected = {"stage": "finalist", "trial": "7", "seed": "0", "state": "complete"}
    assert complete.data.tags.items() >= expected.items()
    assert complete.data.tags["mlflow.note.content"].startswith(
        "**Finalist**: trial 7 of a search, trained at full length with seed number 0: "
        "validation accuracy **20.00%** after 2 epochs."
    )
    assert failed.info.status == "FAILED"
    with resume_run("tune", "tune-1", {}) as run:  # resumed, it does not fail again
        run.log_finalist(Finalist(trial(7), (trial(7), trial(7))), make_tune())
    states = {child.info.run_name: child.info.status for child in children(store, run)}
    assert states == dict.fromkeys(logged, "FINISHED")


def test_a_trial_is_logged_once_in_each_search(store):
    for job, numbers in {"tune-1": [1, 1, 11], "tune-2": [1]}.items():
        with train(job) as run:
            for number in numbers:
                run.log_trial(trial(number), make_tune())
        logged = [int(child.data.tags["trial"]) for child in children(store, run)]
        assert sorted(logged) == sorted(set(numbers))


def test_a_search_has_the_value_of_each_trial_and_the_best_so_far_once(store):
    with train() as run:
        for number in (0, 0, 2):
            run.log_progress(trial(number), trial(0), make_tune().objective)
    for name in ("validation_accuracy", "best_validation_accuracy"):
        points = store.get_metric_history(run.id, f"trials/{name}")
        assert [(point.step, point.value) for point in points] == [(0, 0.2), (2, 0.2)]


def test_a_half_logged_trial_is_deleted_and_logged_again(store):
    with train() as run:
        run.log_trial(trial(1), make_tune())
        (half,) = children(store, run)
        store.update_run(half.info.run_id, status="RUNNING")
        run.log_trial(trial(1), make_tune())
    (whole,) = children(store, run)
    assert whole.info.run_id != half.info.run_id
    assert store.get_run(half.info.run_id).info.lifecycle_stage == "deleted"


# A store that does not answer


def entry(log, name, failures):
    """An entry of the queue that fails so many times before it is logged."""
    left = iter(range(failures))

    def log_entry():
        for _ in left:
            raise stores.StoreError("no answer")
        log.append(name)

    return log_entry


@pytest.mark.usefixtures("store")
def test_entries_that_cannot_be_logged_yet_are_logged_later_in_order(capsys):
    log = []
    with train() as run:
        run.log_later(entry(log, "first", failures=2))
        run.log_later(entry(log, "second", failures=0))
        assert log == []
        assert capsys.readouterr().out.count("not logged yet, will be tried again: no answer") == 2
        run.flush()
        assert log == ["first", "second"]


@pytest.mark.usefixtures("store")
def test_an_entry_that_cannot_be_logged_in_the_end_is_an_error():
    with train() as run:
        run.log_later(entry([], "first", failures=2))
        with pytest.raises(stores.StoreError, match="no answer"):
            run.flush()


def test_a_server_that_cannot_be_reached_is_an_error_of_one_line(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://alice:secret@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    message = r"^MLflow's store http://127\.0\.0\.1:1: .* refused; run"
    with pytest.raises(stores.StoreError, match=message) as error, train():
        pass
    mlflow.set_tracking_uri(None)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_an_answer_that_is_a_web_page_is_an_error_of_one_line(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        endpoint = "/api/2.0/mlflow/experiments/get-by-name"
        with pytest.raises(stores.StoreError) as error, train():
            pass
        server.shutdown()
    mlflow.set_tracking_uri(None)
    assert str(error.value) == (
        f"MLflow's store {address}: API request to endpoint {endpoint} failed with error code "
        "404 != 200; a server of MLflow 3.0 or later is needed"
    )


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("move", [Path.rename, shutil.copytree], ids=["moved", "copied"])
def test_artifacts_are_found_after_the_project_was_moved(tmp_path, monkeypatch, move):
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    (before / "mlflow.db").write_bytes(empty_store())
    monkeypatch.chdir(before)
    with train() as run:
        run.log_text("note.txt", "hello")
    mlflow.set_tracking_uri(None)
    files = set(before.rglob("mlruns/**/*"))
    move(before, after)
    monkeypatch.chdir(after)

    found = existing_store().download_artifacts(run.id, "note.txt", str(tmp_path))
    with train("train-2") as another:
        another.log_text("note.txt", "hello")

    assert Path(found).read_text() == "hello"
    assert (after / "mlruns" / another.id / "artifacts/note.txt").exists()
    assert set(before.rglob("mlruns/**/*")) == (files if move == shutil.copytree else set())


def test_a_store_that_does_not_exist_is_not_created(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"mlflow\.db: missing"):
        existing_store()
    assert not list(tmp_path.iterdir())
