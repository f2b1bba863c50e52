"""Rebuilding a run from git gives its files again, byte for byte, or reports the difference."""

import json
import runpy
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

from mnist_cnn.errors import UserError
from mnist_cnn.files import md5

import pytest
import torch
from clone import ROOT, Clone, name_of

# What a model's run has.
FILES = [
    "models/best_model.pth",
    "reports/model_card.md",
    "reports/tune/validation_predictions.csv",
    "reports/train/**/[!.]*.*",
    "reports/evaluate/**/[!.]*.*",
]


@pytest.fixture(scope="module")
def project(clone, tmp_path_factory):
    """A clone with a run of a committed state, one of uncommitted changes, and a newer commit."""
    folder = tmp_path_factory.mktemp("project") / "clone"
    shutil.copytree(clone.folder, folder, symlinks=True)
    project = Clone(folder)
    project.committed = latest(project, "train")
    project.files = sum(len([*folder.glob(pattern)]) for pattern in FILES)
    project.committed_md5 = md5(folder / "models/best_model.pth")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "results")

    project.set_params({"train": {"seed": 1}})
    script = folder / "src/train.py"
    script.write_text(script.read_text() + "# changed\n")
    (folder / "src/new.py").write_text('"""Not committed."""\n')
    project.run("dvc", "repro")
    project.uncommitted = latest(project, "train")
    project.uncommitted_md5 = md5(folder / "models/best_model.pth")
    assert project.uncommitted != project.committed

    project.mlflow.set_registered_model_alias("mnist-cnn", "champion", "1")
    project.run("git", "checkout", "--quiet", "--", ".")
    (folder / "src/new.py").unlink()
    project.set_params({"train": {"seed": 2}, "evaluate": {"worst_mistakes": 3}})
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "other parameters")
    project.before = state(project)
    return project


@pytest.fixture(autouse=True)
def unchanged(project):
    """No test changes the clone."""
    yield
    assert state(project) == project.before


def state(project):
    return (
        project.run("git", "status", "--porcelain").stdout,
        project.run("git", "worktree", "list").stdout,
        project.read("dvc.lock"),
        {run.info.run_id: run.info.end_time for run in project.runs()},
    )


def latest(project, name):
    """The id of the latest run with a name."""
    return [run.info.run_id for run in project.runs() if name_of(run) == name][-1]


def reproduce(project, *arguments, check=True, **variables):
    return project.run("python", "src/reproduce.py", *arguments, check=check, **variables)


@contextmanager
def edited(project, run, path):
    """Yield an artifact of a run to change, and restore it."""
    file = Path(project.mlflow.get_run(run).info.artifact_uri, path)
    content = file.read_bytes()
    try:
        yield file
    finally:
        file.write_bytes(content)


def test_a_run_is_computed_again_with_another_number_of_workers(project):
    registry = project.folder.parent / "registry.db"
    output = reproduce(
        project,
        project.committed,
        "--force",
        TUNE_WORKERS="1",
        MLFLOW_REGISTRY_URI=f"sqlite:///{registry}",
    ).stdout

    assert "Running stage 'tune'" in output
    assert "same       models/best_model.pth" in output
    assert "same       reports/evaluate/plots/roc.png" in output
    assert "different" not in output
    assert "nothing was computed" not in output
    assert output.rstrip().endswith(f"all {project.files} are the same")
    assert not registry.exists()


def test_what_is_in_the_cache_is_not_computed(project):
    # As in a git hook.
    git = {"GIT_DIR": str(project.folder / ".git"), "GIT_INDEX_FILE": ".git/index"}
    output = reproduce(project, "models:/mnist-cnn/1", **git).stdout

    assert f"run {project.committed} (train " in output
    assert "Stage 'tune' didn't change, skipping" in output
    assert "Running stage" not in output
    assert "nothing was computed" in output
    assert f"all {project.files} are the same" in output


def test_a_run_of_uncommitted_changes_is_rebuilt(project):
    output = reproduce(project, project.uncommitted_md5).stdout

    assert f"run {project.uncommitted} (train " in output
    assert "with uncommitted changes: params.yaml, src/new.py, src/train.py" in output
    assert "Running stage 'train'" in output
    assert f"all {project.files} are the same" in output


def test_a_trial_or_a_finalist_is_rebuilt_with_its_study(project):
    output = reproduce(project, latest(project, "trial-002")).stdout

    assert output.startswith("trial 2 of run ")
    assert "same       hyperparameters\nsame       epochs\n" in output
    assert "all 2 are the same" in output

    output = reproduce(project, latest(project, "finalist-005-0")).stdout
    assert output.startswith("finalist 5 (seed 0) of run ")
    assert "all 2 are the same" in output


def test_differences_are_reported_with_their_size(project, tmp_path):
    run = project.committed
    with (
        edited(project, run, "evaluate/plots/roc.png") as plot,
        edited(project, run, "models/best_model.pth") as weights,
        edited(project, run, "evaluate/metrics.json") as metrics,
    ):
        plot.unlink()
        content = torch.load(weights, weights_only=True)
        content["state_dict"]["features.0.weight"][0] += 0.25
        torch.save(content, weights)
        accuracy = json.loads(metrics.read_text())["test_accuracy"]
        text = metrics.read_text().replace(f'"test_accuracy": {accuracy}', '"test_accuracy": 2')
        metrics.write_text(text)
        done = reproduce(project, run, "--keep", str(tmp_path / "rebuilt"), check=False)

    assert done.returncode == 1
    assert "different  models/best_model.pth\n             features.0.weight: " in done.stdout
    assert ", by at most 0.25\n" in done.stdout
    assert f"test_accuracy: 2 → {accuracy}" in done.stdout
    assert "reports/evaluate/plots/roc.png\n             not among the artifacts" in done.stdout
    assert f"3 of {project.files} differ" in done.stderr
    assert md5(tmp_path / "rebuilt/models/best_model.pth") == project.committed_md5

    project.run("git", "worktree", "remove", "--force", str(tmp_path / "rebuilt"))


def test_a_run_is_rebuilt_if_the_project_is_a_folder_of_its_repository(clone, tmp_path):
    folder = tmp_path / "repository/a project"
    shutil.copytree(clone.folder, folder, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    project = Clone(folder)
    project.run("git", "init", "--quiet", "..")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "project")
    project.set_params({"train": {"seed": 1}})
    (folder / "src/new.py").write_text('"""Not committed."""\n')
    project.run("dvc", "repro")
    run = latest(project, "train")
    project.run("git", "add", "dvc.lock", "models", "reports")
    project.run("git", "commit", "--quiet", "--message", "results")
    project.run("git", "rm", "--quiet", "dvc.lock")

    output = reproduce(project, run).stdout

    assert "changes: a project/params.yaml, a project/src/new.py" in output
    assert "nothing was computed" in output
    assert f"all {sum(len([*folder.glob(pattern)]) for pattern in FILES)} are the same" in output
    assert project.run("git", "worktree", "list").stdout.count("\n") == 1


def test_interrupted_it_leaves_nothing_behind(project, tmp_path):
    process = project.start(
        "python", "src/reproduce.py", project.committed, "--force", TMPDIR=str(tmp_path)
    )
    assert any("Running stage 'tune'" in line for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    rest = process.communicate()[0]

    assert process.returncode == 1
    assert rest.endswith("interrupted\n")
    assert "Traceback" not in rest
    assert not list(tmp_path.glob("reproduce-*"))
    working = [link.resolve() for link in Path("/proc").glob("[0-9]*/cwd")]
    assert not [folder for folder in working if folder.is_relative_to(tmp_path)]


@pytest.fixture
def refusal(project, monkeypatch):
    """Why a run cannot be rebuilt."""
    script = runpy.run_path(str(ROOT / "src/reproduce.py"))
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.folder}/mlflow.db")

    def refusal(run):
        monkeypatch.setattr("sys.argv", ["reproduce.py", run])
        with pytest.raises(UserError) as refused:
            script["main"]()
        return str(refused.value)

    return refusal


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("0" * 32, "no run in this store has this id or made a file with this MD5"),
        ("champion", "not the id of a run or an MD5"),
        ("models/none.pth", "missing"),
        ("mnist-cnn/99", "mnist-cnn/99: not in the registry of"),
    ],
)
def test_a_name_without_a_run_is_refused(refusal, name, reason):
    assert reason in refusal(name)


@contextmanager
def rewritten(project, change):
    """Change the provenance of the run for the length of a block."""
    with edited(project, project.committed, "provenance/evaluate.json") as file:
        document = json.loads(file.read_text())
        change(document)
        file.write_text(json.dumps(document))
        yield


UNKNOWN_COMMIT = {"revision": "0" * 40}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d["versions"].update(torch="1.0.0"), "made with torch 1.0.0 (here 2"),
        (lambda d: d.update(device="cuda"), "made with device cuda (here cpu)"),
        (lambda d: d["commit"].update(UNKNOWN_COMMIT), "is not in this clone; try `git fetch`"),
        (lambda d: d.update(commit=None), "made outside git"),
        (
            lambda d: d["files"].update({"src/evaluate.py": "0" * 32}),
            "do not have what evaluate was made from: src/evaluate.py",
        ),
        (lambda d: d["params"]["evaluate"].update(test_size=1), "from: params.yaml: evaluate"),
    ],
)
def test_a_run_that_cannot_be_rebuilt_here_is_refused(project, refusal, change, reason):
    with rewritten(project, change):
        assert reason in refusal(project.committed)


def test_a_run_without_a_result_is_refused(project, refusal):
    project.mlflow.update_run(project.committed, status="FAILED")
    try:
        assert "is FAILED: it has no result" in refusal(project.committed)
    finally:
        project.mlflow.update_run(project.committed, status="FINISHED")


def as_an_early_version(document):
    document["inputs"] = document.pop("files")
    document["params"] = document["params"]["evaluate"]
    del document["kernels"]
    document["environment"] |= {"cpu": "abacus", "cpu_capability": "AVX512"}
    document["commit"] |= UNKNOWN_COMMIT


def on_another_cpu(document):
    document["environment"] |= {"cpu": "abacus"}
    document["environment"]["packages"]["matplotlib"] = "1.0"
    document["commit"] |= UNKNOWN_COMMIT


def on_another_cpu_without_portable_arithmetic(document):
    on_another_cpu(document)
    document["kernels"] |= {"CPU": "abacus"}


@pytest.mark.parametrize(
    ("change", "warns"),
    [
        (as_an_early_version, True),
        (on_another_cpu, False),
        (on_another_cpu_without_portable_arithmetic, True),
    ],
)
def test_another_cpu_is_reported_unless_arithmetic_was_portable(
    project, refusal, capsys, change, warns
):
    with rewritten(project, change):
        assert "is not in this clone" in refusal(project.committed)

    output = capsys.readouterr().out
    assert ("evaluate: made on cpu abacus; " in output) is warns
    assert ("other versions of packages: matplotlib 1.0 (here " in output) is (
        change is not as_an_early_version
    )
