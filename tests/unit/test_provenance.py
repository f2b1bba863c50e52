"""The fingerprint of a stage changes with everything that determines its result, and only then."""

import json
from dataclasses import replace

from mnist_cnn import files
from mnist_cnn.errors import UserError
from mnist_cnn.learning import compute
from mnist_cnn.reproduce import provenance
from mnist_cnn.reproduce.git import Commit
from mnist_cnn.reproduce.provenance import Provenance, is_recorded, of_stage

import pytest
import torch
import yaml

CPU = torch.device("cpu")

PARAMS = """
download: {dataset: MNIST}
tune: {seed: 0}
evaluate: {test_size: 500, threads: 1}
"""
PROJECT = {
    "params.yaml": PARAMS,
    "dvc.yaml": """
stages:
  evaluate:
    cmd: python src/evaluate.py
    deps: [src/evaluate.py, src/learning, "data/${download.dataset}/images"]
    params: [evaluate]
  tune:
    cmd: python src/tune.py
    deps: [src/learning]
    params: [tune, evaluate.threads]
""",
    "src/evaluate.py": "code",
    "src/learning/model.py": "code",
    "src/learning/layers/conv.py": "code",
    "data/MNIST/images": "images",
    "data/KMNIST/images": "images",
}
COMMIT = Commit("c0ffee", clean=False, patch=b"diff")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project with one stage."""
    for path, content in PROJECT.items():
        files.write_text(tmp_path / path, content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(provenance, "current_commit", lambda: COMMIT)
    return tmp_path


def test_a_stage_can_depend_on_one_value_of_a_section(project):
    origin = of_stage("tune", CPU)
    assert origin.inputs.params == {"tune": {"seed": 0}, "evaluate.threads": 1}
    assert origin.params() == {"seed": 0, "evaluate.threads": 1}
    files.write_text(project / "params.yaml", PARAMS.replace("test_size: 500", "test_size: 499"))
    assert of_stage("tune", CPU).inputs == origin.inputs
    files.write_text(project / "params.yaml", PARAMS.replace("threads: 1", "threads: 2"))
    assert of_stage("tune", CPU).inputs.fingerprint != origin.inputs.fingerprint


@pytest.fixture
def origin():
    return of_stage("evaluate", CPU)


@pytest.fixture
def inputs(origin):
    return origin.inputs


def test_the_inputs_are_the_dependencies_of_the_stage(inputs, project):
    assert inputs.params == {"evaluate": {"test_size": 500, "threads": 1}}
    assert inputs.files == {
        "src/evaluate.py": files.md5(project / "src/evaluate.py"),
        "src/learning": files.md5_folder(project / "src/learning"),
        "data/MNIST/images": files.md5(project / "data/MNIST/images"),
    }
    assert inputs.versions.keys() >= {"python", "torch", "numpy", "optuna"}


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("src/evaluate.py", "code  # comment"),
        ("src/learning/layers/conv.py", "code  # comment"),
        ("src/learning/new.py", ""),
        ("params.yaml", PARAMS.replace("500", "499")),
        ("params.yaml", PARAMS.replace("MNIST", "KMNIST")),  # its files are the same here
    ],
    ids=["file", "folder", "new file", "parameter", "data set"],
)
def test_a_changed_dependency_changes_the_fingerprint(inputs, project, path, content):
    files.write_text(project / path, content)
    assert of_stage("evaluate", CPU).inputs.fingerprint != inputs.fingerprint


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("src/train.py", "code"),
        ("src/learning/__pycache__/model.pyc", "compiled"),
        ("params.yaml", PARAMS.replace("seed: 0", "seed: 1")),
        ("params.yaml", "# comment" + PARAMS),
        ("params.yaml", PARAMS.replace("test_size: 500, threads: 1", "threads: 1, test_size: 500")),
    ],
    ids=["file", "compiled file", "section", "comment", "order"],
)
def test_any_other_change_keeps_the_fingerprint(inputs, project, path, content):
    files.write_text(project / path, content)
    assert of_stage("evaluate", CPU).inputs.fingerprint == inputs.fingerprint


def test_another_version_of_a_library_changes_the_fingerprint(inputs, monkeypatch):
    monkeypatch.setattr(provenance, "version", lambda _name: "0")
    assert of_stage("evaluate", CPU).inputs.fingerprint != inputs.fingerprint


def test_a_build_of_pytorch_for_cpus_is_the_same_version(inputs, monkeypatch):
    build = {name: f"{value}+cpu" for name, value in inputs.versions.items()}
    monkeypatch.setattr(provenance, "version", build.__getitem__)
    assert of_stage("evaluate", CPU).inputs.fingerprint == inputs.fingerprint


@pytest.mark.parametrize(
    ("kernels", "expected"),
    [
        (compute.PORTABLE_KERNELS, compute.PORTABLE_KERNELS),
        ({"PyTorch": "AVX512"}, {"PyTorch": "AVX512", "CPU": "Abacus 2000"}),
    ],
    ids=["portable", "native"],
)
def test_the_cpu_is_an_input_unless_the_kernels_are_portable(monkeypatch, kernels, expected):
    monkeypatch.setattr(compute, "kernels", lambda: kernels)
    monkeypatch.setattr(provenance, "cpu", lambda: "Abacus 2000")
    assert of_stage("evaluate", CPU).inputs.kernels == expected


def test_a_missing_input_is_an_error_that_names_the_command(project):
    (project / "data/MNIST/images").unlink()
    message = "^data/MNIST/images: missing; `dvc repro evaluate` runs the stages before$"
    with pytest.raises(UserError, match=message):
        of_stage("evaluate", CPU)


def test_a_run_has_the_commit_the_patch_and_the_inputs(origin):
    fingerprint = {"fingerprint": origin.inputs.fingerprint}
    assert origin.tags() == fingerprint | {"git.commit": "c0ffee", "git.clean": "false"}
    assert origin.patch == b"diff"
    assert origin.params() == {"test_size": 500, "threads": 1}
    document = json.loads(json.dumps(origin.document()))
    assert document["commit"] == {"revision": "c0ffee", "clean": False}
    assert document["files"] == origin.inputs.files
    assert document["environment"]["packages"]["torch"] == origin.inputs.versions["torch"]

    outside_git = Provenance(origin.inputs, None, {})
    assert (outside_git.tags(), outside_git.patch) == (fingerprint, b"")
    assert outside_git.document()["commit"] is None


def test_a_result_is_recorded_with_exactly_its_files_and_parameters(inputs, project):
    assert not is_recorded(inputs)
    (project / "dvc.lock").touch()
    assert not is_recorded(inputs)

    stage = {
        "deps": [{"path": path, "md5": digest} for path, digest in inputs.files.items()],
        "params": {"params.yaml": inputs.params},
    }
    (project / "dvc.lock").write_text(yaml.safe_dump({"stages": {"evaluate": stage}}))
    assert is_recorded(inputs)
    for changed in (
        {"files": inputs.files | {"src/learning": "0.dir"}},
        {"files": inputs.files | {"src/new.py": "0"}},
        {"params": {"evaluate": {"test_size": 499, "threads": 1}}},
        {"stage": "train"},
    ):
        assert not is_recorded(replace(inputs, **changed))
