"""The committed `dvc.lock` is never stale: it is of the very sources and parameters beside it.

All is read from the last commit, because `dvc repro` brings the working tree up to date.
"""

import hashlib
import subprocess

import pytest
import yaml
from clone import ROOT


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


def committed(path: str) -> bytes:
    return git("show", f"HEAD:{path}")


def md5_of(path: str) -> str:
    """The MD5 of a file of the commit."""
    return hashlib.md5(committed(path), usedforsecurity=False).hexdigest()


PARAMS = yaml.safe_load(committed("params.yaml"))
DEFINED = yaml.safe_load(committed("dvc.yaml"))["stages"]
LOCKED = yaml.safe_load(committed("dvc.lock"))["stages"]
MADE = {out["path"]: out["md5"] for stage in LOCKED.values() for out in stage["outs"]}


def test_every_stage_is_recorded():
    assert LOCKED.keys() == DEFINED.keys()


@pytest.mark.parametrize("stage", DEFINED)
def test_a_stage_is_recorded_with_the_command_and_parameters_of_the_commit(stage):
    assert LOCKED[stage]["cmd"] == DEFINED[stage]["cmd"]
    sections = {section: PARAMS[section] for section in DEFINED[stage]["params"]}
    assert LOCKED[stage]["params"] == {"params.yaml": sections}


@pytest.mark.parametrize("stage", DEFINED)
def test_a_stage_is_recorded_with_the_sources_of_the_commit(stage):
    deps = {dep["path"]: dep["md5"] for dep in LOCKED[stage]["deps"]}
    sources = {path: digest for path, digest in deps.items() if path.startswith("src/")}

    assert deps.keys() == {
        dep.replace("${download.dataset}", PARAMS["download"]["dataset"])
        for dep in DEFINED[stage]["deps"]
    }
    assert sources == {path: md5_of(path) for path in sources}


@pytest.mark.parametrize("stage", DEFINED)
def test_a_stage_is_recorded_with_what_the_earlier_ones_made(stage):
    for dep in LOCKED[stage]["deps"]:
        if dep["path"] in MADE:
            assert dep["md5"] == MADE[dep["path"]], dep["path"]


def test_the_reports_of_the_commit_are_those_recorded():
    listed = git("ls-tree", "-r", "--name-only", "HEAD", "reports").decode().split()
    reports = [path for path in listed if not path.endswith(".gitignore")]

    assert "reports/evaluate/metrics.json" in reports
    assert {path: md5_of(path) for path in reports} == {path: MADE[path] for path in reports}
