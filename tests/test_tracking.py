"""Runs, trials and the registry, in a real store, read back through MLflow's own client."""

import json
from collections import deque
from dataclasses import asdict, replace
from pathlib import Path
from uuid import uuid4

from mnist_cnn import datasets, registry, runs, stores, tracking
from mnist_cnn.data import Digits
from mnist_cnn.files import md5
from mnist_cnn.model import DeepCNN
from mnist_cnn.provenance import Commit, Provenance

import mlflow
import pytest
import torch
from mlflow import MlflowClient

ORIGIN = Provenance(
    "train",
    {"compute": {"arithmetic": "portable"}, "train": {"seed": 0, "nested": {"key": 1}}},
    {"src/train.py": "abc"},
    {"x": "1"},
    "cpu",
    {"PyTorch": "AVX2"},
)
COMMIT = Commit("0123456789", clean=True, patch=b"")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The address of a store, and its tables, which take seconds to make."""
    address = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    MlflowClient(address).search_experiments()
    return address


@pytest.fixture
def client(store, tmp_path, monkeypatch):
    """A client of the store, in an experiment and with registered models of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "EXPERIMENT", tmp_path.name)
    for name, info in datasets.INFO.items():
        monkeypatch.setitem(datasets.INFO, name, replace(info, model=f"{tmp_path.name}-{name}"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    mlflow.set_tracking_uri(store)
    yield MlflowClient(store)
    mlflow.set_tracking_uri(None)


@pytest.fixture
def digits(tmp_path):
    """Five examples, read from the file `images` of the test's own folder."""
    (tmp_path / "images").write_bytes(b"pixels")
    return Digits(torch.zeros(5, 1, 28, 28, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64))


def artifact(run_id, path):
    return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path)).read_bytes()


def evaluate_run(path):
    return runs.that_made(path, "train", replace(ORIGIN, stage="evaluate"), COMMIT)


def train_run(work="train-1"):
    return runs.of_work(ORIGIN, COMMIT, work=work)


def test_a_run_tells_what_it_was_made_from(client):
    with train_run() as run_id:
        pass
    run = client.get_run(run_id)

    assert run.info.run_name == "train"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"arithmetic": "portable", "seed": "0", "nested.key": "1"}
    assert run.data.tags["git.commit"] == "0123456789"
    assert run.data.tags["git.clean"] == "true"
    origin = json.loads(artifact(run_id, "provenance/train.json"))
    assert origin["commit"] == {"revision": "0123456789", "clean": True}
    assert {name: origin[name] for name in asdict(ORIGIN)} == asdict(ORIGIN)
    assert run.data.tags["fingerprint"] == ORIGIN.fingerprint


def test_a_run_of_an_unclean_tree_keeps_the_difference(client):
    with runs.of_work(
        ORIGIN, Commit("0123456789", clean=False, patch=b"caf\xe9\r\n"), work="train-1"
    ) as run_id:
        pass

    assert client.get_run(run_id).data.tags["git.clean"] == "false"
    assert artifact(run_id, "provenance/train.patch") == b"caf\xe9\r\n"

    with train_run():
        pass
    assert client.get_run(run_id).data.tags["git.clean"] == "true"
    assert artifact(run_id, "provenance/train.patch") == b""


def test_a_run_tells_packages_and_machine(client):
    with train_run() as run_id:
        pass
    environment = json.loads(artifact(run_id, "provenance/train.json"))["environment"]

    assert environment["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert environment["kernels"]["PyTorch"] == torch.backends.cpu.get_cpu_capability()
    assert [file.path for file in client.list_artifacts(run_id, "provenance")] == [
        "provenance/train.json"
    ]


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")]
)
def test_a_run_that_did_not_end_well_says_so_and_is_continued(client, error, status):
    with pytest.raises(error), train_run() as first:
        raise error
    assert client.get_run(first).info.status == status

    with train_run() as second:
        assert client.get_run(first).info.status == "RUNNING"

    assert second == first
    assert client.get_run(first).info.status == "FINISHED"


def test_the_same_work_is_one_run_and_other_work_another(client):
    with train_run() as first:
        pass
    with train_run() as same:
        pass
    with train_run("train-2") as other:
        pass

    assert same == first
    assert other != first
    assert client.get_run(first).data.tags["work"] == "train-1"


def test_an_epoch_is_logged_once(client):
    epoch = {"epoch": 1, "train_loss": 0.5}
    with train_run() as run_id:
        tracking.log_epoch(run_id, epoch)
        tracking.log_epoch(run_id, epoch)
        tracking.log_epoch(run_id, epoch | {"epoch": 2, "train_loss": 0.25})

    points = client.get_metric_history(run_id, "train_loss")
    assert [(point.step, point.value) for point in points] == [(1, 0.5), (2, 0.25)]


def test_the_run_that_made_a_file_is_found_by_the_files_content(client, tmp_path):
    made = tmp_path / "model.pth"
    made.write_bytes(b"one")
    with train_run() as run_id:
        runs.log_made(made)

    ended = client.get_run(run_id).info.end_time

    with evaluate_run(made):
        tracking.log_metrics({"accuracy": 0.5}, prefix="test_")

    run = client.get_run(run_id)
    assert run.data.metrics == {"test_accuracy": 0.5}
    assert run.info.status == "FINISHED"
    assert run.info.end_time == ended  # its duration is that of the training
    for stage in ("train", "evaluate"):
        assert json.loads(artifact(run_id, f"provenance/{stage}.json"))["stage"] == stage


def test_of_the_runs_that_made_a_file_one_of_this_workspace_is_continued(client, tmp_path):
    made = tmp_path / "model.pth"
    made.write_bytes(b"one")
    with train_run("ours") as ours:
        runs.log_made(made)
    with train_run("theirs") as theirs:
        runs.log_made(made)
    client.set_tag(theirs, "workspace", "elsewhere:/project")

    with evaluate_run(made) as run_id:
        assert run_id == mlflow.active_run().info.run_id == ours


def test_a_file_that_no_run_made_gets_a_run_of_its_own(client, tmp_path):
    found = tmp_path / "model.pth"
    found.write_bytes(b"from elsewhere")
    with evaluate_run(found):
        run_id = mlflow.active_run().info.run_id

    assert client.get_run(run_id).data.tags[f"md5 {found}"] == md5(found)


def test_a_run_has_ended_well_whatever_becomes_of_the_evaluation(client, tmp_path):
    made = tmp_path / "model.pth"
    made.write_bytes(b"one")
    with train_run() as run_id:
        runs.log_made(made)
    ended = client.get_run(run_id).info.end_time
    with pytest.raises(ValueError, match="x"), evaluate_run(made):
        raise ValueError("x")
    info = client.get_run(run_id).info
    assert (info.status, info.end_time) == ("FINISHED", ended)

    # As kills leave it: within an evaluation, and when it has ended and not put the time back.
    client.update_run(run_id, status="RUNNING")
    client.set_terminated(run_id, "FINISHED", ended + 1000)
    with evaluate_run(made):
        pass
    info = client.get_run(run_id).info
    assert (info.status, info.end_time) == ("FINISHED", ended)


def test_a_figure_is_logged_again_only_when_it_has_changed(client):
    with train_run() as run_id:
        for accuracy in (0.5, 0.5, 0.6):
            tracking.log_metrics({"accuracy": accuracy})

    points = client.get_metric_history(run_id, "accuracy")
    assert [point.value for point in points] == [0.5, 0.6]


def log_trial(parent, number=0, state="complete", error=None, epochs=2):
    return tracking.log_trial(
        parent,
        number,
        state=state,
        hyperparameters={"learning_rate": 0.1},
        history=[
            {"epoch": n, "train_loss": 1 / n, "validation_accuracy": n / 10}
            for n in range(1, epochs + 1)
        ],
        times=[100.0 + n for n in range(epochs + 2)],
        note="**A note**",
        error=error,
    )


@pytest.mark.parametrize(
    ("state", "status"), [("complete", "FINISHED"), ("pruned", "KILLED"), ("failed", "FAILED")]
)
def test_a_trial_is_a_run_below_its_study(client, state, status):
    error = "Traceback: no" if state == "failed" else None
    with train_run() as parent:
        run_id = log_trial(parent, 7, state, error)
    trial = client.get_run(run_id)

    assert trial.info.run_name == "trial-007"
    assert trial.info.status == status
    assert trial.data.tags["mlflow.parentRunId"] == parent
    assert trial.data.tags["state"] == state
    assert trial.data.params == {"learning_rate": "0.1"}
    assert (trial.info.start_time, trial.info.end_time) == (100_000, 103_000)
    points = client.get_metric_history(run_id, "validation_accuracy")
    assert [(p.step, p.value, p.timestamp) for p in points] == [
        (1, 0.1, 101_000),
        (2, 0.2, 102_000),
    ]
    artifacts = [file.path for file in client.list_artifacts(run_id)]
    assert artifacts == (["error.txt"] if error else [])


def test_a_trial_tells_of_what_it_is_made_as_its_study_does(client, digits):
    with train_run() as parent:
        tracking.log_dataset("MNIST", "train", digits, Path("images"))
        run_id = log_trial(parent)
    trial, study = client.get_run(run_id), client.get_run(parent)

    for tag in ("mlflow.user", "mlflow.source.name", "git.commit"):
        assert trial.data.tags[tag] == study.data.tags[tag]
    (given,) = trial.inputs.dataset_inputs
    assert given.dataset.digest == digits.digest()
    note = trial.data.tags["mlflow.note.content"]
    assert note == f"**A note**\n\nMake it again: `python src/reproduce.py {run_id}`\n"


def test_the_experiment_has_a_note_and_views_which_a_person_may_change(client):
    def tags():
        return client.get_experiment_by_name(runs.EXPERIMENT).tags

    with train_run():
        pass
    made = tags()
    assert made["mlflow.note.content"]
    assert {"mlflow.sharedViewState.trials", "mlflow.sharedViewState.models"} <= made.keys()

    experiment = client.get_experiment_by_name(runs.EXPERIMENT).experiment_id
    client.set_experiment_tag(experiment, "mlflow.note.content", "of our own")
    with train_run("train-2"):
        pass
    assert tags() == made | {"mlflow.note.content": "of our own"}


def test_a_trial_that_a_kill_left_half_logged_is_dropped(client):
    with train_run() as parent:
        log_trial(parent, 0)
        half = log_trial(parent, 1)
        client.update_run(half, status="RUNNING")
        whole = log_trial(parent, 1)

    assert whole != half
    assert client.get_run(half).info.lifecycle_stage == "deleted"


@pytest.mark.usefixtures("client")
def test_a_trial_is_logged_once():
    with train_run() as parent:
        assert log_trial(parent, 1) == log_trial(parent, 1) != log_trial(parent, 11)
    with train_run("train-2") as other:
        assert log_trial(other, 1) != log_trial(parent, 1)


def test_a_data_set_is_an_input_with_its_digest(client, digits):
    with train_run() as run_id:
        tracking.log_dataset("MNIST", "train", digits, Path("images"))

    (given,) = client.get_run(run_id).inputs.dataset_inputs
    assert given.dataset.name == "mnist-train"
    assert given.dataset.digest == digits.digest()
    assert given.tags[0].value == "training"
    assert client.get_run(run_id).data.tags["dataset"] == "MNIST"


def register(accuracy, data="d1", examples=100, weights=None, dataset="MNIST"):
    """Register a network that was tested so, in a new run; return what is told of it.

    It is the one of these weights, or another one each time.
    """
    path = Path("model.pth")
    path.write_text(weights or uuid4().hex)
    training = DeepCNN([2], []).eval()
    example = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    tested = registry.Tested(accuracy, round(examples * (1 - accuracy)), examples, data)
    with train_run(uuid4().hex):
        runs.log_made(path)
        return registry.register(datasets.INFO[dataset], training, path, example, tested, "a note")


def numbers(registered):
    """Of a version and of the champion."""
    return registered.version.number, registered.champion.number


def aliases(client, dataset="MNIST"):
    model = datasets.INFO[dataset].model
    return {
        alias: int(version) for alias, version in client.get_registered_model(model).aliases.items()
    }


def test_the_champion_is_the_best_on_the_same_data(client):
    assert numbers(register(0.9, weights="a")) == (1, 1)
    assert numbers(register(0.8)) == (2, 1)
    assert numbers(register(0.9, weights="b")) == (3, 3)
    assert numbers(register(1.0, data="d2")) == (4, 3)

    assert aliases(client) == {"champion": 3, "challenger": 4}
    champion = client.get_model_version_by_alias(datasets.INFO["MNIST"].model, "champion")
    assert champion.tags == {
        "test_accuracy": "0.9",
        "test_mistakes": "10",
        "test_examples": "100",
        "test_data": "d1",
    }


def test_a_test_on_more_images_makes_the_champion(client):
    register(1.0)
    assert numbers(register(0.9, data="d2", examples=1000)) == (2, 2)
    assert numbers(register(1.0)) == (3, 2)

    assert aliases(client) == {"champion": 2, "challenger": 3}


def test_a_test_on_fewer_images_takes_nothing_from_a_version(client):
    register(0.9, data="d2", examples=1000, weights="a")
    tags = client.get_model_version(datasets.INFO["MNIST"].model, "1").tags
    registered = register(1.0, weights="a")

    model = datasets.INFO["MNIST"].model
    assert str(registered) == f"{model} version 1 (90.00% of 1,000 test images), the champion"
    assert client.get_model_version(model, "1").tags == tags
    assert str(register(1.0, examples=900, data="d3")) == (
        f"{model} version 2 (100.00% of 900 test images), the challenger of "
        "version 1 (90.00% of 1,000 test images)"
    )
    assert str(register(0.95, examples=1000, data="d2")) == (
        f"{model} version 3 (95.00% of 1,000 test images), the champion in place of "
        "version 1 (90.00% of 1,000 test images)"
    )


def test_a_champion_that_does_not_tell_of_its_test_makes_room(client):
    register(0.9)
    client.delete_model_version_tag(datasets.INFO["MNIST"].model, "1", "test_examples")
    assert numbers(register(0.8)) == (2, 2)


def test_a_version_without_its_run_is_not_taken_for_the_network(client):
    register(0.9, weights="a")
    model = datasets.INFO["MNIST"].model
    client.delete_run(client.get_model_version(model, "1").run_id)

    assert numbers(register(0.9, weights="a")) == (2, 2)


def test_the_test_that_a_version_keeps_decides_also_after_a_kill_before_its_alias(client):
    register(0.9, examples=500, data="d2")
    register(0.8, examples=1000, data="d3", weights="a")
    client.set_registered_model_alias(datasets.INFO["MNIST"].model, "champion", "1")

    assert numbers(register(0.8, examples=100, data="d4", weights="a")) == (2, 2)


def test_each_data_set_has_a_registered_model_and_a_champion_of_its_own(client):
    register(0.9)
    assert numbers(register(0.8, dataset="FashionMNIST")) == (1, 1)

    assert aliases(client) == aliases(client, "FashionMNIST") == {"champion": 1}
    fashion = client.get_registered_model(datasets.INFO["FashionMNIST"].model)
    assert "kind of fashion product" in fashion.description


def test_a_network_is_one_version_however_often_it_is_made_and_evaluated(client):
    register(0.9)
    assert numbers(register(0.8, weights="a")) == (2, 1)
    assert numbers(register(0.95, weights="a")) == (2, 2)

    assert len(client.search_model_versions(f"name = '{datasets.INFO['MNIST'].model}'")) == 2
    assert aliases(client) == {"champion": 2}


@pytest.mark.usefixtures("client", "digits")
def test_the_registered_model_answers_as_the_network_does():
    network = DeepCNN([4], [8], batch_norm=True).eval()
    images = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    with train_run():
        tested = registry.Tested(accuracy=0.9, mistakes=10, examples=100, data="d1")
        registry.register(
            datasets.INFO["MNIST"], network, Path("images"), images[:2], tested, "a note"
        )

    loaded = mlflow.pyfunc.load_model(f"models:/{datasets.INFO['MNIST'].model}@champion")

    assert loaded.predict(images.numpy()) == pytest.approx(network(images).detach().numpy(), 1e-4)
    assert loaded.predict(images[:1].numpy()).shape == (1, 10)
    assert loaded.metadata.signature.inputs.inputs[0].type.name == "uint8"


def failing(times, said):
    """An entry that a store refuses so many times."""
    left = iter(range(times))

    def entry():
        for _ in left:
            raise stores.StoreError("no answer")
        said.append("made")

    return entry


def test_what_cannot_be_logged_is_kept_in_order_and_logged_later(capsys):
    made = []
    entries = deque([failing(2, made), lambda: made.append("second")])

    tracking.log_now(entries)
    tracking.log_now(entries)
    assert made == []
    assert capsys.readouterr().out.count("not logged yet, and tried again later: no answer") == 2

    tracking.log_all(entries)
    assert made == ["made", "second"]
    assert not entries


def test_what_cannot_be_logged_in_the_end_is_an_error():
    with pytest.raises(stores.StoreError, match="no answer"):
        tracking.log_all(deque([failing(1, [])]))


def test_a_server_that_is_not_there_is_told_in_one_line(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://alice:secret@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    with (
        pytest.raises(
            stores.StoreError, match=r"^MLflow's store http://127\.0\.0\.1:1: .* refused; run"
        ) as caught,
        train_run(),
    ):
        pass
    mlflow.set_tracking_uri(None)

    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
