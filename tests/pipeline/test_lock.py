"""The committed `dvc.lock` belongs to the committed code, parameters and reports.

The last commit is read, not the working tree, because `dvc repro` brings that up to date. So commit
a change together with the results of `make repro`.
"""

import subprocess

from mnist_cnn import yaml_files
from mnist_cnn.reproduce.provenance import md5_path, param

import pytest
from clone import ROOT

STAGES = ["download", "tune", "train", "evaluate"]


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """The files of the last commit, as git under Windows would write them."""
    command = ["git", "-c", "core.autocrlf=true", "archive", "HEAD"]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    folder = tmp_path_factory.mktemp("committed")
    subprocess.run(["tar", "--extract", "--directory", folder], input=archive, check=True)
    return folder


@pytest.fixture(scope="module")
def params(committed):
    return yaml_files.read(committed / "params.yaml")


@pytest.fixture(scope="module")
def defined(committed):
    return yaml_files.read(committed / "dvc.yaml")["stages"]


@pytest.fixture(scope="module")
def locked(committed):
    return yaml_files.read(committed / "dvc.lock")["stages"]


@pytest.fixture(scope="module")
def outputs(locked):
    """The MD5 of each output, by path."""
    return {out["path"]: out["md5"] for stage in locked.values() for out in stage["outs"]}


def test_every_stage_is_recorded(locked, defined):
    assert sorted(locked) == sorted(defined) == sorted(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_recorded_with_the_committed_parameters(stage, locked, defined, params):
    assert locked[stage]["cmd"] == defined[stage]["cmd"]
    values = {name: param(params, name) for name in defined[stage]["params"]}
    assert None not in values.values()
    assert locked[stage]["params"] == {"params.yaml": values}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_recorded_with_the_committed_code(stage, committed, locked, defined, params):
    digests = {dep["path"]: dep["md5"] for dep in locked[stage]["deps"]}
    names = {
        "${download.dataset}": params["download"]["dataset"],
        "${model.network}": params["model"]["network"],
    }
    deps = defined[stage]["deps"]
    for variable, name in names.items():
        deps = [dep.replace(variable, name) for dep in deps]
    assert list(digests) == sorted(deps)
    committed_folders = ("src", "req", "datasets")
    code = {path: digest for path, digest in digests.items() if path.startswith(committed_folders)}
    assert code == {path: md5_path(committed / path) for path in code}


def test_a_stage_is_recorded_with_the_outputs_of_earlier_stages(locked, outputs):
    deps = {dep["path"]: dep["md5"] for stage in locked.values() for dep in stage["deps"]}
    shared = deps.keys() & outputs.keys()
    assert shared >= {"models/best_model.pth", "reports/tune/best_params.json"}
    assert {path: deps[path] for path in shared} == {path: outputs[path] for path in shared}


def test_the_committed_reports_are_recorded(committed, outputs):
    reports = [path for path in outputs if (committed / path).exists()]
    assert "reports/evaluate/metrics.json" in reports
    assert "reports/evaluate/plots" in reports
    assert {path: md5_path(committed / path) for path in reports} == {
        path: outputs[path] for path in reports
    }
    files = {path for path in (committed / "reports").rglob("*") if path.is_file()}
    recorded = {
        path for path in files if any(path.is_relative_to(committed / report) for report in reports)
    }
    # `make seeds` writes the last one: it is of experiments, not of a stage.
    assert {path.name for path in files - recorded} == {".gitignore", "seeds.md"}
