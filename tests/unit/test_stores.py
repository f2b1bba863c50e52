"""Where the stores are, and how their errors are reported."""

from pathlib import Path

from mnist_cnn import stores
from mnist_cnn.errors import UserError

import pytest
from filelock import FileLock, Timeout
from mlflow.exceptions import MlflowException
from sqlalchemy import create_engine, text
from sqlalchemy.exc import NoSuchModuleError

VARIABLES = (
    *("DVC_ROOT", "MLFLOW_TRACKING_URI", "OPTUNA_STORAGE"),
    "MLFLOW_DEFAULT_ARTIFACT_ROOT",
)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def addresses():
    return (
        stores.tracking_uri(),
        stores.artifact_location(),
        stores.study_storage(),
        stores.checkpoints(),
    )


def test_all_state_is_in_the_root_also_when_a_stage_runs_in_a_copy(root, monkeypatch):
    expected = (
        f"sqlite:///{root}/mlflow.db",
        f"{root}/mlruns",
        f"sqlite:///{root}/optuna.db?timeout=20",
        root / "models/checkpoints",
    )
    assert addresses() == expected
    (root / "copy").mkdir()
    monkeypatch.chdir(root / "copy")
    monkeypatch.setenv("DVC_ROOT", str(root))
    assert addresses() == expected


def test_environment_variables_name_other_stores(root, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    monkeypatch.setenv("OPTUNA_STORAGE", "postgresql://host/optuna")
    assert addresses() == (
        "http://host:5000",
        None,
        "postgresql://host/optuna",
        root / "models/checkpoints",
    )


def test_a_relative_path_of_a_store_starts_at_the_root(root, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///stores/mlflow.db")
    monkeypatch.setenv("OPTUNA_STORAGE", "sqlite:///stores/optuna.db?timeout=60")
    monkeypatch.setenv("DVC_ROOT", str(root))
    (root / "copy").mkdir()
    monkeypatch.chdir(root / "copy")
    assert stores.tracking_uri() == f"sqlite:///{root}/stores/mlflow.db"
    assert stores.study_storage() == f"sqlite:///{root}/stores/optuna.db?timeout=60"


def test_clones_that_share_a_database_share_its_artifacts(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////srv/mlflow.db")
    assert stores.artifact_location() == "/srv/mlruns"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://host/mlflow")
    with pytest.raises(UserError, match="bucket for its artifacts in MLFLOW_DEFAULT_ARTIFACT_ROOT"):
        stores.artifact_location()
    for place in ("s3://bucket", "mlflow-artifacts:/runs"):
        monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", place)
        assert stores.artifact_location() == place
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", "shared/artifacts")
    monkeypatch.setenv("DVC_ROOT", "/project")
    assert stores.artifact_location() == "/project/shared/artifacts"


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "/srv/mlruns", "file:///srv/mlruns"])
def test_a_folder_of_runs_is_refused(monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=f"^MLFLOW_TRACKING_URI={uri}: a folder; name a database"):
        stores.tracking_uri()


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("sqlite:///mlflow.db", Path("mlflow.db")),
        ("sqlite:////srv/optuna.db?timeout=20", Path("/srv/optuna.db")),
        ("sqlite://", None),
        ("postgresql://host/mlflow", None),
        ("http://host:5000", None),
    ],
)
def test_a_missing_sqlite_file_is_an_error_and_is_not_created(root, uri, file):
    assert stores.sqlite_file(uri) == file
    if file:
        with pytest.raises(UserError, match=f"^{file}: missing; `make repro` creates it"):
            stores.require_existing(uri, "tune")
    else:
        stores.require_existing(uri, "tune")
    assert not list(root.iterdir())


def test_a_store_that_exists_can_be_read():
    Path("mlflow.db").touch()
    stores.require_existing("sqlite:///mlflow.db", "evaluate")


def test_one_process_at_a_time_creates_an_sqlite_file(root):
    with (
        stores.creation_lock("sqlite:///mlflow.db"),
        stores.creation_lock("http://host:5000"),
        pytest.raises(Timeout),
        FileLock(root / "mlflow.db.lock", timeout=0),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://alice:s3cret@host/mlflow", "postgresql://host/mlflow"),
        ("https://token@host:5000", "https://host:5000"),
        (
            "no answer of http://a:p@ss@host, http://b:q@host",
            "no answer of http://host, http://host",
        ),
        ("sqlite:////srv/a@b/mlflow.db", "sqlite:////srv/a@b/mlflow.db"),
        ("http://host/a@b", "http://host/a@b"),
    ],
)
def test_the_passwords_of_addresses_are_hidden(text, expected):
    assert stores.hide_password(text) == expected


def connect():
    with create_engine("sqlite:////absent/mlflow.db").connect() as connection:
        connection.execute(text("select 1"))


def connect_like_mlflow():
    try:
        connect()
    except Exception as error:
        raise MlflowException("(sqlite3.OperationalError) unable to open …\n[SQL: …]") from error


def fail(error):
    raise error


RETRY = "; run the same command again when that is fixed"


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (connect, f"unable to open database file{RETRY}"),
        (connect_like_mlflow, f"unable to open database file{RETRY}"),
        (lambda: fail(OSError(28, "No space left")), f"[Errno 28] No space left{RETRY}"),
        (lambda: fail(MlflowException("no such run\nmore")), "no such run"),
        (lambda: fail(NoSuchModuleError("no dialect of x://a:b@host")), "no dialect of x://host"),
        (lambda: fail(ImportError("No module named 'psycopg2'")), "No module named 'psycopg2'"),
        (lambda: fail(OSError("word " * 100)), f"{'word ' * 39}[...]"[:200] + RETRY),
    ],
)
def test_an_error_of_a_store_is_one_line_with_its_root_cause(use, message):
    with (
        pytest.raises(stores.StoreError) as error,
        stores.store_errors("the store", MlflowException),
    ):
        use()
    assert str(error.value) == f"the store: {message}"


def test_other_errors_are_not_converted():
    with pytest.raises(ValueError, match="bug"), stores.store_errors("the store", MlflowException):
        raise ValueError("bug")
