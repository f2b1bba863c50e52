"""What one clone pushes to a remote, another pulls without computing anything."""

import json
import shutil
from pathlib import Path

from mnist_cnn.datasets import arrays
from mnist_cnn.learning import data

import pytest
from clone import Clone, same_results
from drawings import draw, encode
from PIL import Image


@pytest.fixture(scope="module")
def author(clone, tmp_path_factory, s3):
    """A clone with two commits of results, pushed to a folder and to S3."""
    folder = tmp_path_factory.mktemp("author") / "project"
    shutil.copytree(clone.folder, folder, ignore=shutil.ignore_patterns("mlflow.db*", "mlruns"))
    author = Clone(folder)
    author.environment |= s3
    author.run("dvc", "remote", "add", "folder", str(folder.parent / "remote"))
    author.run("dvc", "remote", "add", "s3", "s3://results/mnist")
    author.run("git", "add", "--all")
    author.run("git", "commit", "--quiet", "--message", "results")
    author.set_params({"evaluate": {"confidence": 0.5}})
    author.run("dvc", "repro")
    author.run("git", "commit", "--quiet", "--all", "--message", "a narrower interval")
    for remote in ("folder", "s3"):
        author.run("dvc", "push", "--remote", remote)
    return author


def pull(author, remote, folder):
    """A clone of the author's that has pulled from a remote."""
    author.run("git", "clone", "--quiet", str(author.folder), str(folder))
    newcomer = Clone(folder)
    newcomer.environment |= {
        name: value for name, value in author.environment.items() if name.startswith("AWS")
    }
    newcomer.run("dvc", "pull", "--remote", remote)
    return newcomer


@pytest.fixture(scope="module")
def newcomer(author, tmp_path_factory):
    return pull(author, "s3", tmp_path_factory.mktemp("newcomer") / "project")


def test_a_folder_has_all_results(author, tmp_path):
    same_results(pull(author, "folder", tmp_path / "project"), author)


def test_an_s3_bucket_has_all_results_and_nothing_is_computed(newcomer, author):
    same_results(newcomer, author)
    output = newcomer.run("dvc", "repro").stdout

    assert output.count("didn't change, skipping") == 4
    assert newcomer.run("git", "status", "--porcelain").stdout == ""


def test_the_champion_of_pulled_results_is_registered_by_the_command_in_the_message(
    newcomer, tmp_path
):
    (tmp_path / "digit.png").write_bytes(encode(draw("7")))
    predict = ("python", "src/predict.py", "--model", "mnist-cnn@champion", tmp_path / "digit.png")
    message = newcomer.run(*predict, check=False).stderr
    newcomer.run(*message.split("`")[3].split())

    assert newcomer.run(*predict).returncode == 0
    assert newcomer.run("git", "status", "--porcelain").stdout == ""


def test_metrics_and_plots_of_two_commits_are_compared(newcomer):
    metrics = json.loads(newcomer.run("dvc", "metrics", "diff", "HEAD~1", "--json").stdout)
    (changed,) = metrics["diff"].values() if "diff" in metrics else metrics.values()
    page = newcomer.run("dvc", "plots", "diff", "HEAD~1").stdout.strip().removeprefix("file://")

    assert changed.keys() == {"test_accuracy_low", "test_accuracy_high"}
    assert "HEAD~1" in Path(page).read_text()


def test_the_pulled_model_predicts(newcomer, tmp_path):
    images = data.load("test", newcomer.folder / arrays.folder("MNIST")).images
    Image.fromarray(images[0, 0].numpy()).save(tmp_path / "seven.png")

    output = newcomer.run("python", "src/predict.py", str(tmp_path / "seven.png"), "--json").stdout

    assert len(json.loads(output)["probabilities"]) == 10
