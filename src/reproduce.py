"""Make the result of an MLflow run again, from git, and compare it with what the run has."""

import argparse
import sys
import tempfile
from pathlib import Path

from mnist_cnn import comparison, compute, console, provenance, rebuild, records
from mnist_cnn.errors import UserError

EPILOG = """\
What the run was made from is checked out into a worktree, which DVC brings up to the stage of the
run: commit, parameters, uncommitted changes. The working tree, the stores and the lock file of this
clone stay as they are. Of a trial, its study is made again.

The exit status is 0 when every file is the same byte for byte, and 1 when one differs, or when the
run cannot be made again.

examples:
  python src/reproduce.py mnist-cnn@champion
  python src/reproduce.py models/best_model.pth --force
  python src/reproduce.py 8c1f0d6f5a9d4b3b9a53d8f0a1b2c3d4 --keep ../again
"""


def main() -> None:
    """Rebuild, compare, and say what is the same."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="reproduce-") as scratch:
        record, trial = records.read(records.find(options.run), Path(scratch))
        last = record.sources[-1]
        _introduce(record, trial, last)
        _check(record, trial, last)

        folder = options.keep or Path(scratch, "worktree")
        with rebuild.worktree(last.provenance, last.commit, folder, keep=bool(options.keep)):
            if not options.force:
                rebuild.recall(folder, [source.provenance for source in record.sources])
            rebuild.repro(folder, last.provenance.stage, force=options.force)
            for source in record.sources:
                for name in rebuild.other_inputs(source.provenance, folder):
                    console.say(f"{name} is not as {source.provenance.stage} had it")
            differences = _compare_trial(trial, folder) if trial else _compare(record, folder)

    for name, lines in differences.items():
        console.say(f"{'differs ' if lines else 'the same'}  {name}")
        for line in lines:
            console.say(f"            {line}")
    differing = sum(map(bool, differences.values()))
    if differing:
        sys.exit(f"{differing} of {len(differences)} differ")
    console.say("all the same" + ("" if trial else f", byte for byte: {len(differences)} files"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        help="a run's id; a registered model, mnist-cnn@champion or mnist-cnn/3; a .pth file, or "
        "the MD5 of any file that dvc.lock names and a run made",
    )
    parser.add_argument(
        "--force", action="store_true", help="compute everything, also what DVC's cache has"
    )
    parser.add_argument(
        "--keep",
        type=_new_folder,
        metavar="FOLDER",
        help="work in this new folder, and leave it to be looked at",
    )
    return parser.parse_args()


def _new_folder(text: str) -> Path:
    folder = Path(text).absolute()
    if folder.exists():
        raise argparse.ArgumentTypeError(f"{text} is there already")
    return folder


def _introduce(
    record: records.Record, trial: records.TrialRecord | None, source: records.Source
) -> None:
    what = f"trial {trial.number} of run" if trial else "run"
    dirty = "" if source.commit.clean else " with changes that were not committed"
    console.say(
        f"{what} {record.run_id} ({record.name}), of commit {source.commit.revision}{dirty}"
    )
    then, now = source.environment, provenance.environment()
    for key in ("cpu", "cpu_capability", "gpu"):
        if then[key] != now[key]:
            console.say(f"another {key} may round otherwise: {then[key]} then, {now[key]} now")
    if others := _changes(then["packages"], now["packages"]):
        console.say(f"other packages: {', '.join(others)}")


def _check(
    record: records.Record, trial: records.TrialRecord | None, source: records.Source
) -> None:
    """Refuse what has nothing to compare with, or would be computed by other versions."""
    if record.status != "FINISHED" and not trial:
        raise UserError(f"run {record.run_id} is {record.status}: it has no result to compare with")
    then = source.provenance.versions | {"device": source.provenance.device}
    here = provenance.versions() | {"device": compute.device().type}
    if others := _changes(then, here):
        raise UserError(
            f"run {record.run_id} was made with {'; '.join(others)}; it can be made again in an "
            "environment that has the same"
        )


def _changes(then: dict[str, str], here: dict[str, str]) -> list[str]:
    return [
        f"{name} {then.get(name, 'absent')} (here {here.get(name, 'absent')})"
        for name in sorted(then | here)
        if then.get(name) != here.get(name)
    ]


def _compare(record: records.Record, folder: Path) -> dict[str, list[str]]:
    """What differs in each file that the run made."""
    return {
        str(path): comparison.files(then, folder / path) for path, then in record.made().items()
    }


def _compare_trial(trial: records.TrialRecord, folder: Path) -> dict[str, list[str]]:
    """What differs in the hyperparameters and in the epochs of a trial."""
    (row,), epochs = (
        [row for row in comparison.rows(folder / path) if row.pop("number") == str(trial.number)]
        for path in ("reports/tune/trials.csv", "reports/tune/epochs.csv")
    )
    known = {name: value for name, value in trial.row.items() if name in row}
    return {
        "hyperparameters": comparison.tables([known], [{name: row[name] for name in known}]),
        "epochs": comparison.tables(trial.epochs, epochs),
    }


if __name__ == "__main__":
    console.run(main)
