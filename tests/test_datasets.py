"""Other data sets of MNIST's form: one parameter, and every stage follows it."""

import json
import re
from pathlib import Path
from typing import get_args

from mnist_cnn import data, model_card, params, sources
from mnist_cnn.datasets import INFO

import mlflow
import pytest
import torchvision
import yaml
from clone import RESULTS, make_clone
from examples import FACTS, FASHION
from huggingface_hub import ModelCard

TINY = {
    "tune": {"trials": 2, "round_size": 2, "epochs": 1, "train_size": 100, "validation_size": 50},
    "train": {"epochs": 1, "train_size": 100, "threads": 1},
    "evaluate": {"test_size": 100, "threads": 1},
}

OTHERS = [name for name in INFO if name != "MNIST"]


def test_every_data_set_that_may_be_set_is_one_of_torchvision_and_has_its_words():
    allowed = get_args(params.Download.model_fields["dataset"].annotation)

    assert set(allowed) == INFO.keys() == sources.SHA256.keys()
    for name, about in INFO.items():
        known = getattr(torchvision.datasets, name)
        assert {file for file, _ in known.resources} == {f"{file}.gz" for file in sources.NAMES}
        if name != "MNIST":  # which has "0 - zero" there
            assert list(about.classes) == known.classes


@pytest.mark.parametrize("dataset", OTHERS)
def test_the_card_of_another_data_set_claims_nothing_of_mnist(dataset, tmp_path):
    about = INFO[dataset]
    card = model_card.render(
        model_card.Facts(**vars(FACTS) | {"dataset": about, "confusions": [(4, 9, 5)]})
    )
    (tmp_path / "card.md").write_text(card)

    (result, _) = ModelCard.load(tmp_path / "card.md").data.eval_results
    assert (result.dataset_name, result.dataset_type) == (about.name, about.hugging_face)
    assert f"| {about.classes[4]} | {about.classes[9]} | 5 |" in card
    assert f"The data are under {about.licence}." in card
    assert "settled on MNIST." in card
    assert f"ten logits an image, of {', '.join(about.classes)}, in this order" in card
    rest = (
        card.replace("settled on MNIST.", "")
        .replace(about.name, "")
        .replace(about.hugging_face, "")
        .replace("mnist-cnn", "")
    )
    for word in ("MNIST", "LeCun", "Census"):
        assert word not in rest.replace("from mnist_cnn", "")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A clone that went from a slice of MNIST to one of Fashion-MNIST, and back."""
    if not FASHION.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    clone = make_clone(tmp_path_factory.mktemp("datasets") / "clone")
    clone.set_params(TINY)
    clone.run("git", "commit", "--quiet", "--all", "--message", "a tiny slice")
    clone.run("dvc", "repro")
    clone.before = {path: clone.read(path) for path in [*RESULTS, "reports/model_card.md"]}

    clone.set_params({"download": {"dataset": "FashionMNIST"}})
    clone.run("dvc", "repro", MNIST_DIR=str(FASHION))
    clone.other = {path: clone.read(path) for path in clone.before}
    clone.status = clone.run("git", "status", "--porcelain", "--", "data", "src").stdout
    clone.other_runs = clone.runs()

    clone.set_params({"download": {"dataset": "MNIST"}})
    clone.back = clone.run("dvc", "repro").stdout
    return clone


def test_every_stage_reads_the_other_data_set_and_the_lock_names_it(project):
    stages = yaml.safe_load(project.other["dvc.lock"])["stages"]
    read = {
        stage: {Path(dep["path"]).parent for dep in stages[stage]["deps"] if "ubyte" in dep["path"]}
        for stage in ("tune", "train", "evaluate")
    }

    assert [out["path"] for out in stages["download"]["outs"]] == ["data/FashionMNIST/raw"]
    assert stages["download"]["params"]["params.yaml"]["download"]["dataset"] == "FashionMNIST"
    assert set(map(frozenset, read.values())) == {frozenset([data.folder("FashionMNIST")])}
    assert project.status == ""  # git sees nothing of another folder in data


def test_the_runs_of_the_other_data_set_name_it(project):
    tune, train = (
        [run for run in project.other_runs if run.info.run_name == name][-1]
        for name in ("tune", "train")
    )
    named = {given.dataset.name for run in (tune, train) for given in run.inputs.dataset_inputs}

    assert named == {f"fashionmnist-{split}" for split in ("train", "validation", "test")}
    for given in train.inputs.dataset_inputs:
        assert "data/FashionMNIST/raw" in given.dataset.source
    assert "test images of Fashion-MNIST it is right on " in train.data.tags["mlflow.note.content"]
    for stage, run in {"tune": tune, "train": train, "evaluate": train}.items():
        origin = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/provenance/{stage}.json")
        (lock,) = [yaml.safe_load(project.other["dvc.lock"])["stages"][stage]["deps"]]
        assert origin["inputs"] == {dep["path"]: dep["md5"] for dep in lock}


def test_the_card_and_the_figures_are_of_the_other_data_set(project):
    card = project.other["reports/model_card.md"].decode()

    assert "images of Fashion-MNIST's training set" in card
    assert "| data/FashionMNIST/raw/t10k-images-idx3-ubyte | " in card
    assert "| products in black on white | " in card
    accuracy = json.loads(project.other["reports/evaluate/metrics.json"])["accuracy"]
    assert f"**{accuracy:.2%}** of 100 test images" in card


def test_the_other_data_set_has_a_registered_model_of_its_own(project):
    train = [run for run in project.other_runs if run.info.run_name == "train"][-1]
    (other,) = project.mlflow.search_model_versions(f"run_id = '{train.info.run_id}'")

    assert (other.name, int(other.version)) == ("fashionmnist-cnn", 1)
    assert project.mlflow.get_model_version(other.name, other.version).aliases == ["champion"]
    champion = project.mlflow.get_model_version_by_alias("mnist-cnn", "champion")
    assert champion.run_id != train.info.run_id


def test_back_at_mnist_every_result_is_the_old_one(project):
    assert {path: project.read(path) for path in project.before} == project.before


def test_back_at_mnist_the_model_is_the_version_that_it_was(project):
    assert re.search(r"registered as mnist-cnn version 1 \(.*\), the champion\n", project.back)
    assert len(project.mlflow.search_model_versions("name = 'mnist-cnn'")) == 1


def test_a_network_of_another_data_set_is_not_evaluated(project):
    def state():
        runs = [run.to_dictionary() for run in project.runs()]
        return runs, {path: project.read(path) for path in project.before}

    project.set_params({"download": {"dataset": "FashionMNIST"}})
    before = state()
    done = project.run("python", "src/evaluate.py", check=False)
    after = state()
    project.set_params({"download": {"dataset": "MNIST"}})

    reason = "has learnt 'MNIST'; `dvc repro` trains one on FashionMNIST"
    assert done.stderr == f"error: models/best_model.pth: {reason}\n"
    assert after == before


def test_a_run_of_the_other_data_set_is_made_again_from_what_was_downloaded(project):
    train = [run for run in project.other_runs if run.info.run_name == "train"][-1]
    # `MNIST_DIR` is set here, and names MNIST's.
    output = project.run("python", "src/reproduce.py", train.info.run_id, "--force").stdout

    assert "nothing was computed" not in output
    assert re.search(r"^all [0-9]+ are the same$", output, re.MULTILINE)
