"""What a result is made from is what `dvc.yaml` says, and every change of it is seen."""

import shutil

from mnist_cnn import files, provenance, yaml_files

import pytest
import yaml
from clone import ROOT, Clone

STAGE = "evaluate"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The inputs of a stage, in a folder of their own."""
    for dep in ("dvc.yaml", "params.yaml", *_deps()):
        target = tmp_path / dep
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / dep).exists():
            shutil.copy2(ROOT / dep, target)
        else:
            target.write_bytes(b"a model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _deps():
    given = yaml_files.read(ROOT / "params.yaml")
    deps = yaml_files.read(ROOT / "dvc.yaml")["stages"][STAGE]["deps"]
    return [dep.replace("${download.dataset}", given["download"]["dataset"]) for dep in deps]


def fingerprint():
    return provenance.of_stage(STAGE).fingerprint


@pytest.mark.usefixtures("project")
def test_the_fingerprint_is_the_same_for_the_same_inputs():
    assert fingerprint() == fingerprint()


@pytest.mark.parametrize("dep", ["src/evaluate.py", "src/mnist_cnn/metrics.py"])
def test_a_changed_file_changes_the_fingerprint(project, dep):
    before = fingerprint()
    with (project / dep).open("a") as file:
        file.write("# a comment\n")

    assert fingerprint() != before


def test_a_changed_parameter_changes_the_fingerprint(project):
    before = fingerprint()
    given = yaml_files.read(project / "params.yaml")
    given[STAGE]["test_size"] = 9999
    (project / "params.yaml").write_text(yaml.safe_dump(given))

    assert fingerprint() != before


def test_another_data_set_changes_the_fingerprint_even_where_the_files_are_the_same(project):
    before = fingerprint()
    given = yaml_files.read(project / "params.yaml")
    given["download"]["dataset"] = "KMNIST"
    (project / "params.yaml").write_text(yaml.safe_dump(given))
    shutil.copytree(project / "data/MNIST", project / "data/KMNIST")

    assert fingerprint() != before


def test_neither_comments_nor_the_order_of_parameters_change_the_fingerprint(project):
    before = fingerprint()
    given = yaml_files.read(project / "params.yaml")
    given[STAGE] = dict(reversed(given[STAGE].items()))
    (project / "params.yaml").write_text("# a comment\n" + yaml.safe_dump(given, sort_keys=False))

    assert fingerprint() == before


@pytest.mark.usefixtures("project")
def test_another_version_of_a_library_changes_the_fingerprint(monkeypatch):
    before = fingerprint()
    monkeypatch.setattr(provenance, "version", lambda _name: "0")

    assert fingerprint() != before


def test_inputs_are_named_by_the_md5_of_dvc(project):
    origin = provenance.of_stage(STAGE)

    assert origin.inputs.keys() == set(_deps())
    assert origin.inputs["src/evaluate.py"] == files.md5(project / "src/evaluate.py")


def test_the_commit_is_known_and_that_the_tree_is_as_committed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git = Clone(tmp_path)
    assert provenance.commit() is None

    git.run("git", "init", "--quiet")
    (tmp_path / "file").write_text("1")
    git.run("git", "add", "--all")
    git.run("git", "commit", "--quiet", "--message", "one")
    revision = git.run("git", "rev-parse", "HEAD").stdout.strip()
    assert provenance.commit() == provenance.Commit(revision, clean=True, patch=b"")

    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/metrics.json").write_text("{}")
    (tmp_path / "dvc.lock").write_text("")
    assert provenance.commit().clean


def test_the_patch_of_an_unclean_tree_makes_the_commit_what_the_tree_is(tmp_path, monkeypatch):
    tree, other = tmp_path / "tree", tmp_path / "other"
    tree.mkdir()
    monkeypatch.chdir(tree)
    git = Clone(tree)
    git.run("git", "init", "--quiet")
    git.run("git", "config", "diff.noprefix", "true")
    git.run("git", "config", "color.ui", "always")
    for name in ("changed", "removed", "staged"):
        (tree / name).write_bytes(b"1\r\n")
    git.run("git", "add", "--all")
    git.run("git", "commit", "--quiet", "--message", "one")
    (tree / "changed").write_bytes(b"caf\xe9\r\n")
    (tree / "removed").unlink()
    (tree / "staged").write_text("2\n")
    git.run("git", "add", "staged")
    (tree / "src").mkdir()
    (tree / "src/new").write_bytes(b"\0\xff")
    (tree / ".env").write_text("TOKEN=secret")
    status = git.run("git", "status", "--porcelain").stdout

    commit = provenance.commit()

    assert not commit.clean
    assert b"secret" not in commit.patch
    assert git.run("git", "status", "--porcelain").stdout == status
    git.run("git", "clone", "--quiet", str(tree), str(other))
    (other / ".patch").write_bytes(commit.patch)
    Clone(other).run("git", "apply", ".patch")
    for name in ("changed", "staged", "src/new"):
        assert (other / name).read_bytes() == (tree / name).read_bytes()
    assert not (other / "removed").exists()


def test_dvc_tells_whether_the_stage_has_run_from_just_this(project):
    origin = provenance.of_stage(STAGE)
    assert not provenance.is_recorded(origin)

    recorded = {
        "deps": [{"path": path, "md5": md5} for path, md5 in origin.inputs.items()],
        "params": {"params.yaml": origin.params},
    }
    (project / "dvc.lock").write_text(yaml.safe_dump({"stages": {STAGE: recorded}}))
    assert provenance.is_recorded(origin)

    (project / "src/evaluate.py").write_text("")
    assert not provenance.is_recorded(provenance.of_stage(STAGE))


def test_dvc_knows_nothing_of_other_parameters(project):
    origin = provenance.of_stage(STAGE)
    recorded = {
        "deps": [{"path": path, "md5": md5} for path, md5 in origin.inputs.items()],
        "params": {"params.yaml": origin.params | {STAGE: {"test_size": 1}}},
    }
    (project / "dvc.lock").write_text(yaml.safe_dump({"stages": {STAGE: recorded}}))

    assert not provenance.is_recorded(origin)
