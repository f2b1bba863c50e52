"""The four real scripts, run by DVC in a clone on a slice of the data, read back from the store."""

import csv
import io
import json

from mnist_cnn import data, files, model

import mlflow
import pytest
import torch
import yaml
from clone import SMALL, make_clone


@pytest.fixture(scope="session")
def client(clone):
    return clone.mlflow


@pytest.fixture(scope="session")
def runs(clone):
    return clone.runs()


@pytest.fixture(scope="session")
def by_name(runs):
    return {run.info.run_name: run for run in runs}


def rows(clone, path):
    return list(csv.DictReader(io.StringIO(clone.read(path).decode())))


def test_the_runs_are_the_study_its_trials_and_the_model(by_name, runs):
    names = {"tune", "train", *(f"trial-{n:03}" for n in range(6))}

    assert by_name.keys() == names
    assert len(runs) == len(names)
    assert by_name["tune"].info.status == by_name["train"].info.status == "FINISHED"


def test_trials_lie_below_their_study_with_all_that_they_were(by_name, client, clone):
    for row in rows(clone, "reports/tune/trials.csv"):
        run = by_name[f"trial-{int(row['number']):03}"]
        points = client.get_metric_history(run.info.run_id, "validation_accuracy")

        assert run.data.tags["mlflow.parentRunId"] == by_name["tune"].info.run_id
        assert run.data.tags["state"] == row["state"]
        assert run.data.params["learning_rate"] == row["learning_rate"]
        assert run.data.params["schedule"] == "one_cycle"
        assert [point.step for point in points] == list(range(1, int(row["epoch"]) + 1))
        assert points[-1].value == float(row["validation_accuracy"])


def test_the_best_hyperparameters_are_those_of_the_best_trial(clone):
    trials = rows(clone, "reports/tune/trials.csv")
    complete = [row for row in trials if row["state"] == "complete"]
    best = max(complete, key=lambda row: float(row["validation_accuracy"]))

    chosen = json.loads(clone.read("reports/tune/best_params.json"))

    assert str(chosen["learning_rate"]) == best["learning_rate"]
    assert str(chosen["batch_size"]) == best["batch_size"]
    assert chosen["schedule"] == "one_cycle"


def test_one_run_tells_the_whole_story_of_the_model(by_name, client, clone):
    run = by_name["train"]
    metrics = json.loads(clone.read("reports/evaluate/metrics.json"))
    points = client.get_metric_history(run.info.run_id, "train_loss")
    history = rows(clone, "reports/train/history.csv")

    assert [(p.step, p.value) for p in points] == [
        (int(row["epoch"]), float(row["train_loss"])) for row in history
    ]
    assert {f"test_{name}" for name in metrics} <= run.data.metrics.keys()
    assert run.data.metrics["test_accuracy"] == metrics["accuracy"] > 0.6
    assert {given.dataset.name for given in run.inputs.dataset_inputs} == {
        "mnist-train",
        "mnist-test",
    }
    assert {given.dataset.name for given in by_name["tune"].inputs.dataset_inputs} == {
        "mnist-train",
        "mnist-validation",
    }


def test_pictures_and_the_model_are_artifacts(by_name, client):
    def artifacts(name, folder):
        return {file.path for file in client.list_artifacts(by_name[name].info.run_id, folder)}

    assert {
        f"evaluate/{name}.png"
        for name in ("confusion_matrix", "roc", "precision_recall", "reliability", "mistakes")
    } <= artifacts("train", "evaluate")
    assert "train/history.png" in artifacts("train", "train")
    assert "models/best_model.pth" in artifacts("train", "models")
    assert {f"tune/{name}.png" for name in ("optimization_history", "slice", "contour")} <= (
        artifacts("tune", "tune")
    )
    assert "study.html" in artifacts("tune", None)
    assert "reports/model_card.md" in artifacts("train", "reports")


def test_a_note_stands_above_each_run_and_the_model_version(by_name, client, clone):
    found = {name: run.data.tags["mlflow.note.content"] for name, run in by_name.items()}

    for name, note in found.items():
        assert f"`python src/reproduce.py {by_name[name].info.run_id}`" in note
    summary = json.loads(clone.read("reports/evaluate/metrics.json"))
    version = client.get_model_version_by_alias("mnist-cnn", "champion")
    for note in (found["train"], version.description):
        assert f"Of 500 test images of MNIST it is right on {summary['accuracy']:.2%}" in note
    best = json.loads(clone.read("reports/tune/metrics.json"))
    assert "**A search** of 6 trials" in found["tune"]
    assert "on 600 training images, judged on 200 others" in found["tune"]
    assert f"The best, trial {best['best_trial']}, is right on " in found["tune"]
    trial = found[f"trial-{best['best_trial']:03}"]
    assert f"complete after 2 epochs, right on **{best['validation_accuracy']:.2%}**" in trial


def test_the_model_card_tells_of_the_model_that_was_made(clone):
    card = clone.read("reports/model_card.md").decode()
    lock = yaml.safe_load(clone.read("dvc.lock"))["stages"]["train"]
    md5s = {entry["path"]: entry["md5"] for entry in [*lock["outs"], *lock["deps"]]}

    for path in ("models/best_model.pth", "data/MNIST/raw/train-images-idx3-ubyte"):
        assert f"| {path} | {md5s[path]} |" in card
    for name, value in json.loads(clone.read("reports/tune/best_params.json")).items():
        assert f"| {name} | {value} |" in card
    assert "| one plain black | " in card


def test_a_line_of_the_lock_leads_to_a_run_and_the_run_to_a_commit(by_name, clone):
    lock = yaml.safe_load(clone.read("dvc.lock"))["stages"]
    (made,) = [out for out in lock["train"]["outs"] if out["path"] == "models/best_model.pth"]
    tags = by_name["train"].data.tags

    assert tags["md5 models/best_model.pth"] == made["md5"]
    assert tags["git.commit"] == clone.run("git", "rev-parse", "HEAD").stdout.strip()
    assert tags["git.clean"] == "true"
    for stage in ("train", "evaluate"):  # one run of both
        origin = mlflow.artifacts.load_dict(
            f"{by_name['train'].info.artifact_uri}/provenance/{stage}.json"
        )
        assert origin["inputs"] == {dep["path"]: dep["md5"] for dep in lock[stage]["deps"]}


def test_the_model_is_registered_as_the_champion(by_name, client):
    version = client.get_model_version_by_alias("mnist-cnn", "champion")

    assert version.run_id == by_name["train"].info.run_id
    assert float(version.tags["test_accuracy"]) == by_name["train"].data.metrics["test_accuracy"]


def test_predictions_are_those_of_the_model_file(clone):
    predictions = rows(clone, "reports/evaluate/predictions.csv")
    (digits,) = data.subset(
        data.load("test", clone.folder / "data/MNIST/raw"), (SMALL["evaluate"]["test_size"],), 0
    )
    network, dataset = model.load(clone.folder / "models/best_model.pth")
    assert dataset == "MNIST"
    probabilities = model.predict(network, digits.images)

    assert [int(row["label"]) for row in predictions] == digits.labels.tolist()
    written = torch.tensor([[float(row[f"p{k}"]) for k in range(10)] for row in predictions])
    torch.testing.assert_close(written.double(), probabilities, atol=1e-5, rtol=1e-5)


def test_the_same_figures_stand_in_every_file(clone):
    metrics = json.loads(clone.read("reports/evaluate/metrics.json"))
    report = json.loads(clone.read("reports/evaluate/classification_report.json"))
    confusion = rows(clone, "reports/evaluate/confusion_matrix.csv")
    right = sum(int(row[row["true"]]) for row in confusion)

    assert right / SMALL["evaluate"]["test_size"] == metrics["accuracy"] == report["accuracy"]
    assert report["macro avg"]["f1-score"] == metrics["f1_macro"]


def test_nothing_is_left_of_finished_work(clone):
    assert not [path for path in clone.folder.glob("models/checkpoints/**/*") if path.is_file()]
    assert not list(clone.folder.rglob("*.partial"))


def test_dvc_shows_metrics_plots_and_experiments_without_flags(clone):
    assert "balanced_accuracy" in clone.run("dvc", "metrics", "show").stdout
    assert "tune.trials" in clone.run("dvc", "exp", "show", "--csv").stdout
    clone.run("dvc", "plots", "show", "--out", "page")
    page = clone.read("page/index.html").decode()
    for title in ("Training loss", "Confusion matrix", "ROC", "mistakes.png"):
        assert title in page


def test_what_is_up_to_date_is_not_run_again(clone, runs):
    again = clone.run("dvc", "repro").stdout

    assert again.count("didn't change, skipping") == 4
    assert len(clone.runs()) == len(runs)


def test_run_again_means_run_again_with_the_same_result(clone, client, runs):
    """The last test of the clone: it adds runs to its store."""
    before = clone.read("dvc.lock")
    model_before = files.md5(clone.folder / "models/best_model.pth")

    clone.run("dvc", "repro", "--force", TUNE_WORKERS="1")

    assert clone.read("dvc.lock") == before
    assert files.md5(clone.folder / "models/best_model.pth") == model_before
    assert len(clone.runs()) == 2 * len(runs)
    assert len(client.search_model_versions("name = 'mnist-cnn'")) == 1  # the same network


def test_a_missing_input_is_one_line(tmp_path_factory):
    empty = make_clone(tmp_path_factory.mktemp("empty"))
    for stage, missing in {
        "tune": "data/MNIST/raw/train-images-idx3-ubyte: missing",
        "train": "data/MNIST/raw/train-images-idx3-ubyte: missing",
        "evaluate": "data/MNIST/raw/t10k-images-idx3-ubyte: missing",
    }.items():
        done = empty.run("python", f"src/{stage}.py", check=False)

        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert missing in done.stderr
