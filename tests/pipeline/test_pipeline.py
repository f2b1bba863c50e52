"""The four stages, run by DVC in a clone with small parameters: results, runs and the registry."""

import csv
import io
import json
import shutil

from mnist_cnn.datasets import arrays
from mnist_cnn.learning import calibration, data, model
from mnist_cnn.reproduce import run_record

import mlflow
import pytest
import torch
import yaml
from clone import PARAMS, RUNS, Clone, make_clone, name_of, same_results
from server import MAKE


@pytest.fixture(scope="module")
def client(clone):
    return clone.mlflow


@pytest.fixture(scope="module")
def runs(clone):
    """The runs of the clone, by name."""
    found = clone.runs()
    assert sorted(name_of(run) for run in found) == RUNS
    return {name_of(run): run for run in found}


@pytest.fixture(scope="module")
def lock(clone):
    return yaml.safe_load(clone.read("dvc.lock"))["stages"]


def rows(clone, path):
    return list(csv.DictReader(io.StringIO(clone.read(path).decode())))


def load_json(clone, path):
    return json.loads(clone.read(path))


def test_trials_are_nested_runs_with_hyperparameters_and_epochs(runs, client, clone):
    for row in rows(clone, "reports/tune/trials.csv"):
        run = runs[f"trial-{int(row['number']):03}"]
        points = client.get_metric_history(run.info.run_id, "validation/accuracy")

        assert run.data.tags["mlflow.parentRunId"] == runs["tune"].info.run_id
        assert run.data.tags["state"] == row["state"]
        assert run.data.params["learning_rate"] == row["learning_rate"]
        assert run.data.params["schedule"] == "one_cycle"
        assert [point.step for point in points] == list(range(1, int(row["epoch"]) + 1))
        assert points[-1].value == float(row["validation_accuracy"])


def test_a_run_can_be_found_by_each_file_that_runs_made(runs):
    tags = {tag for run in runs.values() for tag in run.data.tags if tag.startswith("md5 ")}
    assert tags == {f"md5 {path}" for path in run_record.OUTPUTS}


def test_the_best_hyperparameters_are_those_of_the_best_finalist(clone, runs):
    trials = rows(clone, "reports/tune/trials.csv")
    ranked = sorted(trials, key=lambda row: float(row["validation_accuracy"]), reverse=True)
    last = [row for row in rows(clone, "reports/tune/finalists.csv") if row["epoch"] == "2"]
    assert [row["number"] for row in last] == [row["number"] for row in ranked[:2]]
    winner = max(last, key=lambda row: float(row["validation_accuracy"]))
    best = trials[int(winner["number"])]
    chosen = load_json(clone, "reports/tune/best_params.json")
    run = runs[f"finalist-{int(winner['number']):03}-0"]

    assert run.data.params["learning_rate"] == best["learning_rate"]
    assert run.data.metrics["validation/accuracy"] == float(winner["validation_accuracy"])
    assert str(chosen["learning_rate"]) == best["learning_rate"]
    assert str(chosen["batch_size"]) == best["batch_size"]
    assert chosen["schedule"] == "one_cycle"


def test_the_validation_predictions_of_the_best_finalist_are_kept_with_the_model(
    clone, runs, client
):
    predictions = rows(clone, "reports/tune/validation_predictions.csv")
    accuracy = sum(row["seed_0"] == row["label"] for row in predictions) / len(predictions)
    version = client.get_model_version_by_alias("mnist-cnn", "champion")
    artifacts = client.list_artifacts(version.run_id, "tune")

    assert len(predictions) == PARAMS["tune"]["validation_size"]
    assert load_json(clone, "reports/tune/metrics.json")["validation_accuracy"] == accuracy
    assert runs["train"].data.metrics["validation/accuracy"] == accuracy
    assert float(version.tags["validation_accuracy"]) == accuracy
    assert [file.path for file in artifacts] == ["tune/validation_predictions.csv"]


def test_one_run_has_the_training_and_the_evaluation_of_a_model(runs, client, clone):
    run = runs["train"]
    metrics = load_json(clone, "reports/evaluate/metrics.json")
    points = client.get_metric_history(run.info.run_id, "train/loss")
    history = rows(clone, "reports/train/history.csv")

    assert run.info.status == runs["tune"].info.status == "FINISHED"
    assert [(p.step, p.value) for p in points] == [
        (int(row["epoch"]), float(row["train_loss"])) for row in history
    ]
    assert metrics.items() <= run.data.metrics.items()
    assert metrics["test_accuracy"] > 0.6


@pytest.mark.parametrize(("name", "split"), [("train", "test"), ("tune", "validation")])
def test_a_run_has_its_data_sets(runs, name, split):
    inputs = {each.dataset.name for each in runs[name].inputs.dataset_inputs}

    assert inputs == {"mnist-train", f"mnist-{split}"}


@pytest.mark.parametrize(
    ("name", "artifact"),
    [
        ("tune", "study.html"),
        ("tune", "tune/plots/slice.png"),
        ("train", "train/plots/history.png"),
        ("train", "evaluate/plots/confusion_matrix.png"),
        ("train", "evaluate/plots/roc.png"),
        ("train", "models/best_model.pth"),
        ("train", "reports/model_card.md"),
    ],
)
def test_plots_pages_and_the_model_are_artifacts(runs, client, name, artifact):
    folder = artifact.rpartition("/")[0] or None

    assert artifact in {f.path for f in client.list_artifacts(runs[name].info.run_id, folder)}


def test_each_run_and_the_model_version_have_a_note(runs, client, clone):
    notes = {name: run.data.tags["mlflow.note.content"] for name, run in runs.items()}
    for name, note in notes.items():
        assert f"`python src/reproduce.py {runs[name].info.run_id}`" in note

    accuracy = load_json(clone, "reports/evaluate/metrics.json")["test_accuracy"]
    version = client.get_model_version_by_alias("mnist-cnn", "champion")
    for note in (notes["train"], version.description):
        assert f"Test accuracy **{accuracy:.2%}** on 500 images of MNIST" in note
    best = load_json(clone, "reports/tune/metrics.json")
    value = f"validation accuracy **{best['validation_accuracy']:.2%}**"
    assert "**Search** with 6 trials" in notes["tune"]
    assert (
        f"Best of 2 finalists at full length: trial {best['best_trial']}, {value}" in notes["tune"]
    )
    assert f"{value} after 2 epochs" in notes[f"finalist-{best['best_trial']:03}-0"]


def test_the_model_card_has_digests_and_hyperparameters(clone, lock):
    card = clone.read("reports/model_card.md").decode()
    train = lock["train"]
    md5s = {entry["path"]: entry["md5"] for entry in [*train["outs"], *train["deps"]]}

    for path in ("models/best_model.pth", "data/MNIST/train"):
        assert f"| {path} | {md5s[path]} |" in card
    for name, value in load_json(clone, "reports/tune/best_params.json").items():
        assert f"| {name} | {value} |" in card
    assert "| uniform noise | " in card
    assert "src/" not in card.partition("## Lineage")[2].partition("The model's run")[0]


def test_a_line_of_the_lock_leads_to_a_run_and_the_run_to_a_commit(runs, clone, lock):
    (model_out,) = [o for o in lock["train"]["outs"] if o["path"] == "models/best_model.pth"]
    run = runs["train"]

    assert run.data.tags["md5 models/best_model.pth"] == model_out["md5"]
    assert run.data.tags["git.commit"] == clone.run("git", "rev-parse", "HEAD").stdout.strip()
    assert run.data.tags["git.clean"] == "true"
    for stage in ("train", "evaluate"):
        document = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/provenance/{stage}.json")
        assert document["files"] == {dep["path"]: dep["md5"] for dep in lock[stage]["deps"]}


def test_the_model_is_registered_as_the_champion(runs, client):
    version = client.get_model_version_by_alias("mnist-cnn", "champion")

    assert version.run_id == runs["train"].info.run_id
    assert float(version.tags["test_accuracy"]) == runs["train"].data.metrics["test_accuracy"]


def test_predictions_are_those_of_the_model_file(clone):
    predictions = rows(clone, "reports/evaluate/tables/predictions.csv")
    whole = data.load("test", clone.folder / arrays.folder("MNIST"))
    (examples,) = data.subset(whole, (PARAMS["evaluate"]["test_size"],), 0)
    network, dataset, fitted = model.load(clone.folder / "models/best_model.pth")

    assert dataset.name == "MNIST"
    assert [int(row["label"]) for row in predictions] == examples.labels.tolist()
    written = torch.tensor([[float(row[f"p{k}"]) for k in range(10)] for row in predictions])
    probabilities, familiarity = calibration.predict(network, fitted, examples.images)
    rejected = load_json(clone, "reports/evaluate/metrics.json")["test_rejected"]
    assert rejected == pytest.approx(float((familiarity < 0).double().mean()))
    torch.testing.assert_close(written.double(), probabilities, atol=1e-5, rtol=1e-5)


def test_metrics_agree_across_files(clone):
    metrics = load_json(clone, "reports/evaluate/metrics.json")
    per_class = rows(clone, "reports/evaluate/tables/per_class.csv")
    confusion = rows(clone, "reports/evaluate/tables/confusion_matrix.csv")
    correct = sum(int(row[row["true"]]) for row in confusion)

    assert correct / PARAMS["evaluate"]["test_size"] == metrics["test_accuracy"]
    f1 = sum(float(row["f1"]) for row in per_class) / 10
    assert f1 == pytest.approx(metrics["test_f1_macro"])


def test_nothing_is_left_of_finished_jobs(clone):
    assert not [path for path in clone.folder.glob("models/checkpoints/**/*") if path.is_file()]
    assert not list(clone.folder.rglob("*.partial"))


def test_dvc_shows_metrics_and_plots_without_options(clone, tmp_path):
    header, *_ = clone.run("dvc", "metrics", "show").stdout.splitlines()
    names = header.split()
    assert len(names) == len(set(names)), "a name is in two files"
    assert {"validation_accuracy", "train_accuracy", "test_accuracy"} < set(names)
    clone.run("dvc", "plots", "show", "--out", str(tmp_path))
    page = (tmp_path / "index.html").read_text()
    for title in ("Training loss", "Trials", "Confusion matrix", "roc.png", "slice.png"):
        assert title in page


def test_rerunning_a_stage_gives_the_same_files_and_new_runs(clone, runs, tmp_path):
    copy = Clone(tmp_path / "copy")
    shutil.copytree(clone.folder, copy.folder, symlinks=True)

    copy.run("dvc", "repro", "--single-item", "--force", "train")
    copy.run("dvc", "repro", "--single-item", "--force", "evaluate")

    same_results(copy, clone)
    assert len(copy.runs()) == len(runs) + 1
    assert len(copy.mlflow.search_model_versions("name = 'mnist-cnn'")) == 1  # identical weights


def test_a_mistake_in_the_parameters_is_found_before_results_are_deleted(clone, tmp_path):
    copy = Clone(tmp_path / "copy")
    shutil.copytree(clone.folder, copy.folder, symlinks=True)
    copy.set_params({"model": {"network": "deep_cn"}})
    done = copy.run(*MAKE, "repro", check=False)
    shutil.copy2(clone.folder / "params.yaml", copy.folder)

    assert "params.yaml: model.network: network 'deep_cn' is unknown; there are" in done.stderr
    assert "Running stage" not in done.stdout
    assert copy.run("dvc", "status").stdout.strip() == "Data and pipelines are up to date."


@pytest.mark.parametrize("stage", ["tune", "train", "evaluate"])
def test_a_missing_input_is_an_error_of_one_line(empty_clone, stage):
    done = empty_clone.run("python", f"src/{stage}.py", check=False)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    first = "train" if stage == "tune" else "dataset.json"
    assert f"data/MNIST/{first}: missing" in done.stderr


@pytest.fixture(scope="module")
def empty_clone(tmp_path_factory):
    return make_clone(tmp_path_factory.mktemp("empty"))
