"""A change reruns the stages whose result it can change, and no other."""

import shutil

import pytest
from clone import make_clone
from dvc.repo import Repo

COMMENT = ("", "# a comment\n")  # at the end of the file

EVERYTHING = {"download", "tune", "train", "evaluate"}

CHANGES = [
    # What is computed
    ("params.yaml", ("timeout: 10", "timeout: 11"), {"download"}),
    ("params.yaml", ("rotation: 10", "rotation: 11"), {"tune"}),
    ("params.yaml", ("arithmetic: portable", "arithmetic: native"), {"tune", "train", "evaluate"}),
    ("params.yaml", ("train_size: 1000", "train_size: 999"), {"train"}),
    ("params.yaml", ("epochs: 2\n  threads: 1 #", "epochs: 3\n  threads: 1 #"), {"tune", "train"}),
    ("params.yaml", ("confidence: 0.95", "confidence: 0.9"), {"evaluate"}),
    ("src/mnist_cnn/datasets/sources.py", COMMENT, {"download"}),
    ("src/mnist_cnn/learning/training.py", COMMENT, {"tune", "train", "evaluate"}),
    ("src/mnist_cnn/networks/deep_cnn.py", COMMENT, {"tune", "train", "evaluate"}),
    ("src/mnist_cnn/search/study.py", COMMENT, {"tune"}),
    ("src/mnist_cnn/evaluation/metrics.py", COMMENT, {"evaluate"}),
    ("src/mnist_cnn/evaluation/training_plots.py", COMMENT, {"train", "evaluate"}),
    ("src/mnist_cnn/figures.py", COMMENT, {"tune", "train", "evaluate"}),
    ("src/mnist_cnn/datasets/arrays.py", COMMENT, EVERYTHING),
    ("src/mnist_cnn/datasets/idx.py", COMMENT, {"download"}),
    ("datasets/MNIST.yaml", ("noun: digit", "noun: numeral"), {"download", "evaluate"}),
    ("src/evaluate.py", COMMENT, {"evaluate"}),
    # The versions of libraries
    ("requirements/learning.lock", ("torch==", "torch==1"), EVERYTHING),
    ("requirements/search.lock", ("optuna==", "optuna==1"), {"tune"}),
    ("requirements/statistics.lock", ("scipy==", "scipy==1"), {"tune", "evaluate"}),
    ("requirements/plots.lock", ("pillow==", "pillow==1"), EVERYTHING),
    ("requirements/tools.lock", ("gradio==", "gradio==1"), set()),
    # A network that is not trained
    ("src/mnist_cnn/networks/residual.py", COMMENT, set()),
    # Words, and what people use
    ("params.yaml", COMMENT, set()),
    ("src/mnist_cnn/tracking/notes.py", COMMENT, set()),
    ("src/mnist_cnn/console.py", COMMENT, set()),
    ("src/mnist_cnn/inference/preprocessing.py", COMMENT, set()),
    ("src/mnist_cnn/reproduce/jobs.py", COMMENT, set()),
    ("src/predict.py", COMMENT, set()),
    ("README.md", COMMENT, set()),
]


@pytest.fixture
def project(code, monkeypatch):
    """The same as the current folder, so that DVC names stages without their file."""
    monkeypatch.chdir(code)
    return code


@pytest.fixture(scope="module")
def code(clone, tmp_path_factory):
    """The clone's code, parameters and `dvc.lock`."""
    copy = make_clone(tmp_path_factory.mktemp("project"))
    shutil.copy2(clone.folder / "dvc.lock", copy.folder)
    return copy.folder


def stale(project):
    """The stages with a changed dependency, and what changed."""
    found = {}
    for stage, changes in Repo(project).status().items():
        if not isinstance(changes, list):
            continue
        changed = [each["changed deps"] for each in changes if "changed deps" in each]
        # The results of earlier stages are not in this copy.
        named = {name for deps in changed for name, how in deps.items() if how != "deleted"}
        if named:
            found[stage] = named
    return found


@pytest.mark.parametrize(("path", "change", "stages"), CHANGES)
def test_a_change_reruns_exactly_the_stages_that_depend_on_it(project, path, change, stages):
    assert stale(project) == {}
    file = project / path
    text = file.read_text()
    assert change[0] in text
    file.write_text(text.replace(*change) if change[0] else text + change[1])
    try:
        assert stale(project).keys() == stages
    finally:
        file.write_text(text)


def test_the_results_of_one_stage_are_dependencies_of_the_next(clone):
    again = clone.run("dvc", "repro").stdout

    assert again.count("didn't change, skipping") == 4
