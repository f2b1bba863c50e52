"""Other data sets of MNIST's form: one parameter, and every stage follows it."""

import gzip
import hashlib
import json
import re
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import get_args

import mlflow
import numpy as np
import pytest
import torchvision
import yaml
from huggingface_hub import ModelCard
from torchvision.datasets import FashionMNIST

from clone import RESULTS, make_clone
from examples import FACTS, idx
from mnist_cnn import data, model_card, params, sources
from mnist_cnn.datasets import INFO
from mnist_cnn.errors import UserError

TINY = {
    "tune": {"trials": 2, "round_size": 2, "epochs": 1, "train_size": 100, "validation_size": 50},
    "train": {"epochs": 1, "train_size": 100, "threads": 1},
    "evaluate": {"test_size": 100, "threads": 1},
}

OTHERS = [name for name in INFO if name != "MNIST"]
FIRST = sources.NAMES[0]

# Where Debian's package puts the four `.gz`. They have another header than those of the mirrors.
FASHION = Path("/usr/share/datasets/fashion-mnist")
on_fashion = pytest.mark.skipif(
    not FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed"
)


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


@pytest.fixture
def mirror(monkeypatch):
    """A server on this machine that has the files of a folder, as torchvision's mirrors do."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=FASHION)

        def log_message(self, *_):
            """Say nothing of what is asked."""

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setattr(FashionMNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        yield
        server.shutdown()
        thread.join()


def refusal(raw, dataset="KMNIST", source="folder"):
    """What is said of a download that fails, and that leaves nothing behind."""
    with pytest.raises(UserError) as caught:
        sources.download(dataset, [source], 60.0, raw)
    assert not raw.exists()
    return str(caught.value).removeprefix("no source has the data set; ")


def test_every_data_set_that_may_be_set_is_one_of_torchvision_and_has_its_words():
    allowed = get_args(params.Download.model_fields["dataset"].annotation)

    assert set(allowed) == INFO.keys() == sources.SHA256.keys()
    for name, about in INFO.items():
        known = getattr(torchvision.datasets, name)
        assert {file for file, _ in known.resources} == {f"{file}.gz" for file in sources.NAMES}
        if name != "MNIST":  # which has "0 - zero" there
            assert list(about.classes) == known.classes


@on_fashion
@pytest.mark.usefixtures("mirror")
@pytest.mark.parametrize("source", ["folder", "mirrors"])
def test_fashion_mnist_is_known_by_its_content(tmp_path, monkeypatch, source):
    raw = tmp_path / "raw"
    monkeypatch.setenv("MNIST_DIR", str(FASHION))

    assert sources.download("FashionMNIST", [source], 60.0, raw) == source

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
def test_one_data_set_is_not_taken_for_another(tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_DIR", str(FASHION))

    told = f"folder: {FIRST}: not the file that MNIST has (its SHA-256 is another one)"
    assert refusal(tmp_path / "raw", "MNIST") == told


def test_kmnist_is_known_by_its_compressed_files_which_are_kept(tmp_path, kmnist, monkeypatch):
    raw = tmp_path / "raw"
    sources.download("KMNIST", ["folder"], 60.0, raw)

    for name in sources.NAMES:
        packed = (kmnist / f"{name}.gz").read_bytes()
        assert (raw / f"{name}.gz").read_bytes() == packed
        assert (raw / name).read_bytes() == gzip.decompress(packed)
    assert data.load("test", raw).labels.tolist() == [*range(10), *range(10)]

    monkeypatch.setenv("MNIST_DIR", str(raw))  # what was downloaded is a source itself
    assert sources.download("KMNIST", ["folder"], 60.0, tmp_path / "again") == "folder"


def test_a_compressed_file_with_another_sum_is_refused(tmp_path, kmnist):
    packed = kmnist / f"{FIRST}.gz"
    packed.write_bytes(gzip.compress(gzip.decompress(packed.read_bytes()), 9))

    told = f"folder: {FIRST}.gz: not the file that KMNIST has (its SHA-256 is another one)"
    assert refusal(tmp_path / "raw") == told


def test_files_without_a_sum_of_their_own_are_no_source(tmp_path, kmnist):
    for packed in [*kmnist.iterdir()]:
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()

    assert f"{FIRST}.gz" in refusal(tmp_path / "raw")


def test_the_package_index_is_passed_over_as_it_has_mnist_only(tmp_path):
    assert refusal(tmp_path / "raw", "FashionMNIST", "package_index") == (
        "package_index: mnist-dir has MNIST only, and not FashionMNIST"
    )


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
    assert "predict.py" not in card
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
    clone = make_clone(tmp_path_factory.mktemp("family") / "clone")
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
    clone.run("dvc", "repro")
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


def test_a_run_of_the_other_data_set_is_made_again_from_what_was_downloaded(project):
    train = [run for run in project.other_runs if run.info.run_name == "train"][-1]
    # `MNIST_DIR` is set here, and names MNIST's.
    output = project.run("python", "src/reproduce.py", train.info.run_id, "--force").stdout

    assert "nothing was computed" not in output
    assert re.search(r"^all [0-9]+ are the same$", output, re.MULTILINE)
