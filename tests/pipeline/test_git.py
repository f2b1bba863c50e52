"""The commit of a working tree and its patch give the tree again."""

from mnist_cnn.reproduce.git import Commit, current_commit

import pytest
from clone import Clone


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A repository without a commit, with settings of a user."""
    monkeypatch.chdir(tmp_path)
    tree = Clone(tmp_path)
    tree.run("git", "init", "--quiet")
    tree.run("git", "config", "diff.noprefix", "true")
    tree.run("git", "config", "color.ui", "always")
    return tree


def commit_all(tree):
    tree.run("git", "add", "--all")
    tree.run("git", "commit", "--quiet", "--message", "one")
    return tree.run("git", "rev-parse", "HEAD").stdout.strip()


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("commit", "fatal: ambiguous argument 'HEAD'"),
        ("repository", "fatal: not a git repository: 'none'"),
        ("git", "git: No such file or directory"),
        ("owner", "fatal: detected dubious ownership in repository"),
    ],
)
def test_a_warning_says_why_there_is_no_commit(
    tree, tmp_path, monkeypatch, capsys, missing, reason
):
    if missing != "commit":
        (tmp_path / "file").touch()
        commit_all(tree)
        assert current_commit()
        variables = {
            "repository": ("GIT_DIR", "none"),
            "git": ("PATH", ""),
            "owner": ("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1"),
        }
        monkeypatch.setenv(*variables[missing])
    assert current_commit() is None
    assert capsys.readouterr().out.startswith(f"warning: {reason}")


def test_results_of_stages_leave_the_tree_clean(tree, tmp_path):
    (tmp_path / "file").write_text("1")
    revision = commit_all(tree)
    for folder in ("models", "reports"):
        (tmp_path / folder).mkdir()
    for path in ("models/best_model.pth", "reports/metrics.json", "dvc.lock"):
        (tmp_path / path).write_text("{}")
    assert current_commit() == Commit(revision, clean=True, patch=b"")


def test_the_patch_applied_to_the_commit_gives_the_tree(tree, tmp_path):
    for name in ("changed", "removed", "staged"):
        (tmp_path / name).write_bytes(b"1\r\n")
    revision = commit_all(tree)
    (tmp_path / "changed").write_bytes(b"caf\xe9\r\n")
    (tmp_path / "removed").unlink()
    (tmp_path / "staged").write_text("2\n")
    tree.run("git", "add", "staged")
    (tmp_path / "src").mkdir()
    (tmp_path / "src/new").write_bytes(b"\0\xff")
    (tmp_path / ".env").write_text("TOKEN=secret")
    status = tree.run("git", "status", "--porcelain").stdout

    commit = current_commit()

    assert (commit.revision, commit.clean) == (revision, False)
    assert b"secret" not in commit.patch
    assert tree.run("git", "status", "--porcelain").stdout == status
    tree.run("git", "clone", "--quiet", ".", "copy")
    copy = Clone(tmp_path / "copy")
    (copy.folder / ".patch").write_bytes(commit.patch)
    copy.run("git", "apply", ".patch")
    for name in ("changed", "staged", "src/new"):
        assert copy.read(name) == tree.read(name)
    assert not (copy.folder / "removed").exists()
