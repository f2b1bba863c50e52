"""What a store with many runs costs: each operation that the project, and a person, does on it.

    python benchmarks/many_runs.py 100 1000 10000
    python benchmarks/many_runs.py 100 1000 10000 --store postgresql+psycopg://user@host/empty

The store is filled with copies of the runs of this clone, each with ids of its own.
"""

import argparse
import os
import re
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnist_cnn import params, stores
from mnist_cnn.files import md5
from mnist_cnn.reproduce import run_record
from mnist_cnn.search import study
from mnist_cnn.search.trial import Trial
from mnist_cnn.tracking import experiment
from mnist_cnn.tracking.resume import resume_run
from mnist_cnn.tracking.run import Run

import mlflow
import optuna
import requests
from playwright.sync_api import sync_playwright
from sqlalchemy import Connection, MetaData, Table, create_engine, func, insert, select

MODEL = Path("models/best_model.pth")


def rows(connection: Connection, table: Table) -> list[dict[str, Any]]:
    """All rows of a table."""
    return [dict(row) for row in connection.execute(select(table)).mappings()]


def fill(source: str, target: str, count: int) -> None:
    """Add copies of the runs of a store to another one, until it has so many.

    Copies have new ids and, as tags, new MD5s of outputs; those of a study keep its run as parent.
    """
    meta = MetaData()
    meta.reflect(create_engine(source))
    names = ("runs", "tags", "params", "metrics", "latest_metrics", "inputs")
    with create_engine(source).connect() as connection:
        content = {name: rows(connection, meta.tables[name]) for name in names}
    experiment_id = open_store(target)
    with create_engine(target).begin() as connection:
        runs = meta.tables["runs"]
        present = connection.execute(select(func.count()).select_from(runs)).scalar_one()
        while present < count:
            chosen = content["runs"][: count - present]
            ids = {run["run_uuid"]: secrets.token_hex(16) for run in chosen}
            copies = {name: [copied(row, ids) for row in content[name]] for name in names}
            for run in copies["runs"]:
                if run:
                    run["experiment_id"] = experiment_id
            for name in names:
                if kept := [row for row in copies[name] if row]:
                    connection.execute(insert(meta.tables[name]), kept)
            present += len(chosen)


def copied(row: dict[str, Any], ids: dict[str, str]) -> dict[str, Any] | None:
    """A row of a copied run; None if its run is not copied."""
    owner = "run_uuid" if "run_uuid" in row else "destination_id"
    if row[owner] not in ids:
        return None
    changed = row | {owner: ids[row[owner]]}
    if row.get("key") == "mlflow.parentRunId":
        changed["value"] = ids.get(row["value"], row["value"])
    elif row.get("key", "").startswith("md5 "):
        changed["value"] = secrets.token_hex(16)
    return changed


def open_store(address: str) -> str:
    """Open the experiment in a store, and return its id."""
    os.environ["MLFLOW_TRACKING_URI"] = address
    experiment.open_experiment()
    return str(mlflow.get_experiment_by_name(experiment.NAME).experiment_id)


@contextmanager
def server(address: str) -> Iterator[str]:
    """MLflow's server for a store."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", address]
    with subprocess.Popen(
        [*command, "--port", str(port), "--workers", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            while True:
                try:
                    requests.get(f"{url}/health", timeout=5)
                    break
                except requests.ConnectionError:
                    time.sleep(0.2)
            yield url
        finally:
            process.terminate()


def seconds(action: Callable[[], object], repeats: int = 5) -> float:
    """The median time that an action takes."""
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        action()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def log_trial(trial: Trial, run: Run, settings: params.Params) -> None:
    """Log a trial that the run has not."""
    run.log_trial(replace(trial, number=secrets.randbelow(10**9)), settings.tune)


def measure(address: str, experiment_id: str, settings: params.Params) -> list[float]:
    """Seconds for a look-up of `evaluate`, of `reproduce.py`, to log a trial, and for the UI."""
    storage = stores.study_storage()
    stored = optuna.load_study(study_name=optuna.get_all_study_names(storage)[-1], storage=storage)
    trial = study.from_frozen_trial(stored.trials[0])
    digest = md5(MODEL)
    with resume_run("benchmark", "benchmark", {f"md5 {MODEL}": digest}) as run:
        taken = [
            seconds(lambda: experiment.find_runs_by_output(MODEL, "train")),
            seconds(lambda: run_record.find_run(digest)),
            seconds(lambda: log_trial(trial, run, settings)),
        ]
    with server(address) as url, sync_playwright() as playwright:
        query = {"experiment_ids": [experiment_id], "max_results": 100}
        search = f"{url}/ajax-api/2.0/mlflow/runs/search"
        taken.append(seconds(lambda: requests.post(search, json=query, timeout=600)))
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        page = browser.new_page()

        def open_page() -> None:
            page.goto("about:blank")
            page.goto(f"{url}/#/experiments/{experiment_id}/runs")
            page.get_by_role("link", name=re.compile("^tune")).first.wait_for(timeout=600_000)

        open_page()  # fills the browser's cache
        taken.append(seconds(open_page))
        browser.close()
    return taken


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each number of runs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=int, nargs="+")
    parser.add_argument("--store", help="of MLflow; an empty database (default: a file)")
    options = parser.parse_args(arguments)
    settings, source = params.load(), stores.tracking_uri()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("MLFLOW_DEFAULT_ARTIFACT_ROOT", f"{folder}/artifacts")
        target = options.store or f"sqlite:///{folder}/mlflow.db"
        print("| runs | `evaluate` finds a run | `reproduce.py` | log a trial | search | page |")
        print("|--:|--:|--:|--:|--:|--:|")
        for count in options.runs:
            fill(source, target, count)
            taken = measure(target, open_store(target), settings)
            print(f"| {count:,} | {' | '.join(f'{each:.2f}' for each in taken)} |", flush=True)


if __name__ == "__main__":
    main()
