"""What is changed decides what runs again: exactly the stages that depend on it."""

import re

import pytest
from clone import make_clone

TINY = {
    "tune": {"trials": 2, "round_size": 2, "epochs": 1, "train_size": 100, "validation_size": 50},
    "train": {"epochs": 1, "train_size": 100},
    "evaluate": {"test_size": 100},
}

COMMENT = ("", "# no more than a comment\n")  # at the end of the file


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A clone whose results are committed."""
    clone = make_clone(tmp_path_factory.mktemp("project"))
    clone.set_params(TINY)
    clone.run("dvc", "repro")
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "--message", "results")
    return clone


def stages_run(clone, *command):
    """The stages that a command of DVC ran."""
    return re.findall(r"^Running stage '(\w+)':", clone.run(*command).stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("path", "change", "stages"),
    [
        ("params.yaml", ("timeout: 10", "timeout: 11"), ["download"]),
        ("params.yaml", ("rotation: 10", "rotation: 11"), ["tune", "train", "evaluate"]),
        ("params.yaml", ("train_size: 100\nev", "train_size: 110\nev"), ["train", "evaluate"]),
        ("params.yaml", ("confidence: 0.95", "confidence: 0.9"), ["evaluate"]),
        ("params.yaml", COMMENT, []),
        ("src/mnist_cnn/sources.py", COMMENT, ["download"]),
        ("src/mnist_cnn/search.py", COMMENT, ["tune"]),
        ("src/mnist_cnn/plots.py", COMMENT, ["train", "evaluate"]),
        ("src/mnist_cnn/metrics.py", COMMENT, ["evaluate"]),
        ("src/evaluate.py", COMMENT, ["evaluate"]),
        ("src/predict.py", COMMENT, []),
        ("README.md", COMMENT, []),
    ],
)
def test_one_change_reruns_exactly_the_stages_that_it_concerns(project, path, change, stages):
    file = project.folder / path
    text = file.read_text()
    assert change[0] in text
    file.write_text(text.replace(*change) if change[0] else text + change[1])
    try:
        assert stages_run(project, "dvc", "repro") == stages
    finally:
        project.run("git", "checkout", "--quiet", ".")
        project.run("dvc", "checkout")


def test_when_nothing_has_changed_nothing_runs(project):
    assert stages_run(project, "dvc", "repro") == []
    assert project.run("git", "status", "--porcelain").stdout == ""
