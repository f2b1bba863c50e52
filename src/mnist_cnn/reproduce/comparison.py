"""How a rebuilt run differs from the recorded one: files by their bytes, then by their values.

DVC compares revisions of git; here a run's artifacts are compared with files that are in none.
"""

import json
from collections.abc import Callable
from pathlib import Path

from mnist_cnn.errors import UserError
from mnist_cnn.learning import model
from mnist_cnn.reproduce import provenance, worktree
from mnist_cnn.reproduce.run_record import RunRecord, TrialRecord

import pandas as pd
import torch


def check_comparable(record: RunRecord, trial: TrialRecord | None) -> None:
    """Raise `UserError` if there is nothing to compare with, or if versions differ."""
    if record.status != "FINISHED" and not trial:
        raise UserError(f"run {record.run_id} is {record.status}: it has no result to compare with")
    for each in record.provenance:
        device = each.inputs.device if torch.cuda.is_available() else "cpu"
        here = provenance.versions() | {"device": device}
        then = each.inputs.versions | {"device": each.inputs.device}
        # Earlier versions recorded fewer libraries.
        if changes := _changes(then, {name: here[name] for name in then}):
            raise UserError(
                f"run {record.run_id} was made with {'; '.join(changes)}; it can be rebuilt in an "
                "environment with the same versions"
            )


def compare_environments(record: RunRecord) -> list[str]:
    """The differences in hardware and packages between a run and this machine, a line for each."""
    here = provenance.environment()
    lines = []
    for each in record.provenance:
        stage, then = each.inputs.stage, each.environment
        # With portable arithmetic the CPU does not matter, nor does a GPU that was not used.
        used = {"cpu": "CPU" in each.inputs.kernels, "gpu": each.inputs.device == "cuda"}
        for key, was_used in used.items():
            if was_used and then[key] != here[key]:
                lines.append(f"{stage}: made on {key} {then[key]}; {here[key]} may differ")
        shared = then["packages"].keys() & here["packages"].keys()
        then_shared, here_shared = (
            {name: environment["packages"][name] for name in shared} for environment in (then, here)
        )
        if changes := _changes(then_shared, here_shared):
            lines.append(f"{stage}: other versions of packages: {', '.join(changes)}")
    return lines


def _changes(then: dict[str, str], here: dict[str, str]) -> list[str]:
    return [
        f"{name} {then[name]} (here {here[name]})"
        for name in sorted(then)
        if then[name] != here[name]
    ]


def compare_run(record: RunRecord, trial: TrialRecord | None, folder: Path) -> dict[str, list[str]]:
    """The differences between a run, or one of its trials, and the project rebuilt in a folder.

    Returns:
        The differences, a line for each, by file; for a trial by `hyperparameters` and `epochs`.
    """
    if trial:
        tuned = list(record.provenance[-1].inputs.params["tune"]["search_space"])
        return _compare_trial(trial, tuned, folder)
    outputs = record.outputs()
    stages = [each.inputs.stage for each in record.provenance]
    return {
        str(path): compare_files(outputs[path], folder / path)
        if path in outputs
        else ["not among the artifacts of the run"]
        for path in sorted({*outputs, *worktree.outs(folder, stages)})
    }


def _compare_trial(trial: TrialRecord, tuned: list[str], folder: Path) -> dict[str, list[str]]:
    key = {"number": str(trial.number)}
    row = _select(folder / "reports/tune/trials.csv", key)
    if trial.seed is None:
        epochs = _select(folder / "reports/tune/epochs.csv", key)
    else:
        epochs = _select(folder / "reports/tune/finalists.csv", key | {"seed": str(trial.seed)})
    columns = ["state", *tuned]
    then = pd.DataFrame([trial.row]).reindex(columns=columns, fill_value="")
    return {
        "hyperparameters": compare_tables(then, row.reindex(columns=columns, fill_value="")),
        "epochs": compare_tables(pd.DataFrame(trial.epochs, columns=epochs.columns), epochs),
    }


def _select(path: Path, key: dict[str, str]) -> pd.DataFrame:
    """The rows of a table with these values, without the columns of the key."""
    table = _read_csv(path)
    for name, value in key.items():
        table = table[table.pop(name) == value]
    return table.reset_index(drop=True)


def compare_files(before: Path, after: Path) -> list[str]:
    """The differences of two files, a line for each; empty if they have the same bytes.

    The values in JSON, CSV and `.pth` files are compared column by column, or weight by weight.
    """
    if not after.exists():
        return ["missing"]
    if before.read_bytes() == after.read_bytes():
        return []
    read = _READERS.get(before.suffix)
    if not read:
        return ["different bytes"]
    try:
        differences = compare_tables(read(before), read(after))
    except (ValueError, UserError):
        return ["different bytes; one of the files is damaged"]
    return differences or ["different bytes, equal values"]


def compare_tables(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """The differences of two tables, a line for each column that differs."""
    if len(before) != len(after):
        return [f"rows: {len(before)} → {len(after)}"]
    columns = list(dict.fromkeys([*before, *after]))
    before, after = (
        table.reindex(columns=columns, fill_value="absent") for table in (before, after)
    )
    lines = [_compare_columns(name, before[name], after[name]) for name in columns]
    return [line for line in lines if line]


def _compare_columns(name: str, before: "pd.Series[str]", after: "pd.Series[str]") -> str:
    """The difference in one line, or an empty string."""
    present = before.notna() | after.notna()  # the weights of a small layer fill part of a column
    changed = (before != after) & present
    if not changed.any():
        return ""
    then, now = before[changed], after[changed]
    largest = (pd.to_numeric(now, "coerce") - pd.to_numeric(then, "coerce")).abs().max()
    by = "" if pd.isna(largest) else f", by at most {largest:.2g}"
    if present.sum() == 1:
        return f"{name}: {then.iloc[0]} → {now.iloc[0]}{by}"
    return f"{name}: {changed.sum()} of {present.sum()} values{by}"


def _read_csv(path: Path) -> pd.DataFrame:
    """A CSV file, all values as they are written."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _read_json(path: Path) -> pd.DataFrame:
    return pd.json_normalize(json.loads(path.read_text()))


def _read_weights(path: Path) -> pd.DataFrame:
    loaded = model.load(path)
    tensors = loaded.network.state_dict()
    if loaded.calibration:
        temperature, threshold, detector = loaded.calibration
        tensors |= {"temperature": torch.tensor(temperature), "threshold": torch.tensor(threshold)}
        tensors |= detector._asdict()
    values = {name: pd.Series(value.flatten()) for name, value in tensors.items()}
    return pd.DataFrame({"dataset": pd.Series([loaded.dataset.name]), **values})


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".json": _read_json,
    ".csv": _read_csv,
    ".pth": _read_weights,
}
