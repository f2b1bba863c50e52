"""Finds MLflow's artifacts after the folder with the store was moved or copied.

MLflow stores the absolute path of every artifact in its database.
"""

from pathlib import Path

from mnist_cnn import stores

from sqlalchemy import column, create_engine, func, select, table, update

# The columns of MLflow's tables that have such paths.
_PATHS = {
    "experiments": ["artifact_location"],
    "runs": ["artifact_uri"],
    "logged_models": ["artifact_location"],
    "model_versions": ["source", "storage_location"],
}


def follow(uri: str, experiment: str) -> None:
    """Correct the paths in an SQLite database whose `mlruns` was moved or copied with it."""
    file = stores.sqlite_file(uri)
    if not file or not file.exists() or not (here := file.parent / "mlruns").is_dir():
        return
    experiments = table("experiments", column("name"), column("artifact_location"))
    query = select(experiments.c.artifact_location).where(experiments.c.name == experiment)
    with create_engine(uri).begin() as connection:
        known = connection.execute(query).scalar()
        if not known or Path(known) == here or Path(known).name != here.name:
            return
        for name, columns in _PATHS.items():
            stored = table(name, *map(column, columns))
            moved = {each.name: func.replace(each, known, str(here)) for each in stored.columns}
            connection.execute(update(stored).values(moved))
