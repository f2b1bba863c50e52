"""From a run back to its source: what a run has is made again, from git, and compared."""

import json
import runpy
import signal
from contextlib import contextmanager
from pathlib import Path

from mnist_cnn.errors import UserError
from mnist_cnn.files import md5

import pytest
import torch
from clone import ROOT, make_clone

TINY = {
    "tune": {"trials": 3, "round_size": 3, "train_size": 300, "validation_size": 100},
    "train": {"epochs": 1, "train_size": 300},
    "evaluate": {"test_size": 200},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A clone with a run of a clean tree, one of changes never committed, and newer commits."""
    clone = make_clone(tmp_path_factory.mktemp("project"))
    clone.set_params(TINY)
    clone.run("git", "commit", "--quiet", "--all", "--message", "a tiny slice")
    clone.run("dvc", "repro", TUNE_WORKERS="1")
    clone.first = of_name(clone, "train")
    clone.first_md5 = md5(clone.folder / "models/best_model.pth")
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "--message", "results")

    clone.set_params({"train": {"epochs": 2}})
    script = clone.folder / "src/train.py"
    script.write_text(script.read_text() + "# mine\n")
    (clone.folder / "src/mine.py").write_text('"""New, and not committed."""\n')
    clone.run("dvc", "repro")
    clone.unclean = of_name(clone, "train")
    clone.unclean_md5 = md5(clone.folder / "models/best_model.pth")
    assert clone.unclean != clone.first

    clone.mlflow.set_registered_model_alias("mnist-cnn", "champion", "1")

    clone.run("git", "checkout", "--quiet", "--", ".")
    (clone.folder / "src/mine.py").unlink()
    clone.set_params({"train": {"epochs": 3}, "evaluate": {"worst_mistakes": 3}})
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "--message", "something else")
    clone.before = state(clone)
    return clone


@pytest.fixture(autouse=True)
def undisturbed(request):
    """Whatever was made again, this clone is as it was."""
    yield
    if "project" in request.fixturenames:
        project = request.getfixturevalue("project")
        assert state(project) == project.before


def state(clone):
    """All of a clone that making something again must leave as it is."""
    return (
        clone.run("git", "status", "--porcelain").stdout,
        clone.run("git", "worktree", "list").stdout,
        clone.read("dvc.lock"),
        {run.info.run_id: run.info.end_time for run in clone.runs()},
    )


def of_name(clone, name):
    """The id of the latest run of this name."""
    return [run.info.run_id for run in clone.runs() if run.info.run_name == name][-1]


def reproduce(clone, *arguments, check=True, **variables):
    return clone.run("python", "src/reproduce.py", *arguments, check=check, **variables)


@contextmanager
def edited(clone, run, path):
    """Yield an artifact of a run to write to, and put back what was there."""
    file = Path(clone.mlflow.get_run(run).info.artifact_uri, path)
    content = file.read_bytes()
    try:
        yield file
    finally:
        file.write_bytes(content)


def test_a_run_is_computed_again_byte_for_byte_by_however_many_workers(project):
    elsewhere = project.folder.parent / "registry.db"
    output = reproduce(
        project,
        project.first,
        "--force",
        TUNE_WORKERS="4",
        MLFLOW_REGISTRY_URI=f"sqlite:///{elsewhere}",
    ).stdout

    assert "Running stage 'tune'" in output
    assert "the same  models/best_model.pth" in output
    assert "the same  reports/evaluate/roc.png" in output
    assert "differs" not in output
    assert "nothing was computed" not in output
    assert output.rstrip().endswith("all 19 are the same")
    assert not elsewhere.exists()


def test_what_the_cache_has_is_not_computed(project):
    # As in a hook of git.
    git = {"GIT_DIR": str(project.folder / ".git"), "GIT_INDEX_FILE": ".git/index"}
    output = reproduce(project, project.first_md5, **git).stdout

    assert f"run {project.first} (train)" in output
    assert "Stage 'tune' didn't change, skipping" in output
    assert "Running stage" not in output
    assert "nothing was computed, as this clone has it all" in output
    assert "all 19 are the same" in output


def test_what_was_never_committed_is_made_again(project):
    output = reproduce(project, project.unclean_md5).stdout

    assert f"run {project.unclean} (train)" in output
    assert "not committed: params.yaml, src/mine.py, src/train.py" in output
    assert "Running stage 'train'" in output
    assert "all 19 are the same" in output


@pytest.mark.parametrize("name", ["mnist-cnn@champion", "models:/mnist-cnn/1"])
def test_a_registered_model_leads_to_its_run(project, name):
    output = reproduce(project, name).stdout

    assert f"run {project.first} (train)" in output
    assert "all 19 are the same" in output


def test_a_study_and_each_of_its_trials_are_made_again(project):
    assert "reports/tune/trials.csv" in reproduce(project, of_name(project, "tune")).stdout

    output = reproduce(project, of_name(project, "trial-002")).stdout
    assert output.startswith("trial 2 of run ")
    assert "the same  hyperparameters\nthe same  epochs\n" in output
    assert "all 2 are the same" in output


def test_what_differs_is_told_with_how_far_it_is_apart(project, tmp_path):
    def change_weights(file):
        content = torch.load(file, weights_only=True)
        next(iter(content["state_dict"].values()))[0] += 0.25
        torch.save(content, file)

    with (
        edited(project, project.first, "evaluate/roc.png") as lost,
        edited(project, project.first, "models/best_model.pth") as weights,
        edited(project, project.first, "evaluate/metrics.json") as metrics,
    ):
        lost.unlink()
        change_weights(weights)
        accuracy = json.loads(metrics.read_text())["accuracy"]
        metrics.write_text(metrics.read_text().replace(f'"accuracy": {accuracy}', '"accuracy": 2'))
        done = reproduce(project, project.first, "--keep", str(tmp_path / "again"), check=False)

    assert done.returncode == 1
    assert "differs   models/best_model.pth\n            weights: by 0.25 at most" in done.stdout
    assert f"accuracy: 2 → {accuracy}" in done.stdout
    assert "reports/evaluate/roc.png\n            not among the artifacts" in done.stdout
    assert "3 of 19 differ" in done.stderr
    assert md5(tmp_path / "again/models/best_model.pth") == project.first_md5

    project.run("git", "worktree", "remove", "--force", str(tmp_path / "again"))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_leaves_nothing_behind(project, tmp_path, how):
    process = project.start(
        "python", "src/reproduce.py", project.first, "--force", TMPDIR=str(tmp_path)
    )
    assert any("Running stage 'tune'" in line for line in process.stdout)
    process.send_signal(how)
    rest = process.communicate()[0]

    assert process.returncode == 1
    assert rest.endswith("interrupted\n")
    assert "Traceback" not in rest
    assert not list(tmp_path.glob("reproduce-*"))
    working = [link.resolve() for link in Path("/proc").glob("[0-9]*/cwd")]
    assert not [folder for folder in working if folder.is_relative_to(tmp_path)]


@pytest.fixture
def refusal(project, monkeypatch):
    """Why a run is refused."""
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
    ("name", "told"),
    [
        ("0" * 32, "no run of this store has this id, or is tagged with this MD5"),
        ("champion", "neither the id of a run nor an MD5"),
        ("models/none.pth", "missing"),
        ("mnist-cnn/99", "mnist-cnn/99: not in the registry of"),
    ],
)
def test_what_no_run_is_called_is_refused(refusal, name, told):
    assert told in refusal(name)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda of: of["versions"].update(torch="1.0.0"), "made with torch 1.0.0 (here 2"),
        (lambda of: of.update(device="cuda"), "made with device cuda (here cpu)"),
        (lambda of: of["commit"].update(revision="0" * 40), "is not in this clone; `git fetch`"),
        (lambda of: of.update(commit=None), "made outside git"),
        (
            lambda of: of["inputs"].update({"src/evaluate.py": "0" * 32}),
            "do not give what evaluate was made from: src/evaluate.py",
        ),
        (lambda of: of["params"]["evaluate"].update(test_size=1), "from: params.yaml: evaluate"),
    ],
)
def test_what_cannot_be_made_again_here_is_refused_with_the_reason(project, refusal, change, told):
    with edited(project, project.first, "provenance/evaluate.json") as file:
        origin = json.loads(file.read_text())
        change(origin)
        file.write_text(json.dumps(origin))

        assert told in refusal(project.first)


def test_a_run_without_a_result_is_refused(project, refusal):
    project.mlflow.update_run(project.first, status="FAILED")
    try:
        assert "is FAILED: it has no result" in refusal(project.first)
    finally:
        project.mlflow.update_run(project.first, status="FINISHED")


def test_a_record_of_an_earlier_version_is_read(project, refusal, capsys):
    with edited(project, project.first, "provenance/evaluate.json") as file:
        origin = json.loads(file.read_text())
        origin["params"] = origin["params"]["evaluate"]
        del origin["kernels"]
        origin["environment"] |= {"cpu": "abacus", "cpu_capability": "AVX512"}
        origin["commit"]["revision"] = "0" * 40
        file.write_text(json.dumps(origin))

        assert "is not in this clone" in refusal(project.first)
    assert "evaluate: made on cpu abacus; " in capsys.readouterr().out


@pytest.mark.parametrize("arithmetic", ["portable", "native"])
def test_another_cpu_matters_for_native_arithmetic_only(project, refusal, capsys, arithmetic):
    with edited(project, project.first, "provenance/evaluate.json") as file:
        origin = json.loads(file.read_text())
        origin["environment"] |= {"cpu": "abacus"}
        if arithmetic == "native":
            origin["kernels"] |= {"CPU": "abacus"}
        origin["environment"]["packages"]["matplotlib"] = "1.0"
        origin["commit"]["revision"] = "0" * 40  # that is enough to see
        file.write_text(json.dumps(origin))
        refusal(project.first)

    told = capsys.readouterr().out
    assert ("evaluate: made on cpu abacus; " in told) == (arithmetic == "native")
    assert "other versions of packages: matplotlib 1.0 (here " in told
