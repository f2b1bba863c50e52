"""Make the result of an MLflow run again, from git, and compare it with what the run has."""

import argparse
import re
import sys
import tempfile
from pathlib import Path

from mnist_cnn import comparison, compute, console, provenance, rebuild, records
from mnist_cnn.errors import UserError

EPILOG = """\
What the run was made from is checked out into a worktree, which DVC brings up to the stage of the
run: commit, parameters, uncommitted changes. The working tree, the stores and the lock file of this
clone stay as they are. Of a trial, its study is made again.

What is run is the code of the run. Where others can write to the MLflow store, read the patch among
its artifacts first.

The exit status is 0 when every file is the same byte for byte, and 1 when one differs, or when the
run cannot be made again. A folder that was kept goes with `git worktree remove --force FOLDER`.

examples:
  python src/reproduce.py mnist-cnn@champion
  python src/reproduce.py models/best_model.pth --force
  python src/reproduce.py 8c1f0d6f5a9d4b3b9a53d8f0a1b2c3d4 --keep ../again
"""


def main() -> None:
    """Rebuild, compare, and say what is the same."""
    options = _options()
    try:
        differences, computed = _reproduce(options)
    except KeyboardInterrupt:
        sys.exit("interrupted")

    for name, lines in differences.items():
        console.say(f"{'differs ' if lines else 'the same'}  {name}")
        for line in lines:
            console.say(f"            {line}")
    if options.keep:
        console.say(
            f"kept in {options.keep}; `git worktree remove --force {options.keep}` ends that"
        )
    if not computed:
        console.say("nothing was computed, as this clone has it all; --force computes it")
    if differing := sum(map(bool, differences.values())):
        sys.exit(f"{differing} of {len(differences)} differ")
    console.say(f"all {len(differences)} are the same")


def _reproduce(options: argparse.Namespace) -> tuple[dict[str, list[str]], bool]:
    """What differs in each file, or in the trial; and whether anything was computed."""
    with tempfile.TemporaryDirectory(prefix="reproduce-") as scratch:
        record, trial = records.read(records.find(options.run), Path(scratch))
        _introduce(record, trial)
        _check(record, trial)
        origins = [source.provenance for source in record.sources]
        last, commit = origins[-1], record.sources[-1].commit

        folder = options.keep or Path(scratch, "worktree")
        with rebuild.worktree(last, commit, folder, keep=bool(options.keep)):
            if not options.force:
                rebuild.recall(folder, origins)
            console.say(f"in {folder}, with stores of its own:")
            computed = rebuild.repro(folder, last.stage, force=options.force)
            for origin in origins:
                for name in rebuild.other_inputs(origin, folder):
                    console.say(f"{name} is not as {origin.stage} had it")
            compared = _compare_trial(trial, last, folder) if trial else _compare(record, folder)
    return compared, computed


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        help="a run's id; a registered model, mnist-cnn@champion or mnist-cnn/3; a .pth file; or "
        "the MD5 of a .pth, best_params.json or trials.csv",
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


def _introduce(record: records.Record, trial: records.TrialRecord | None) -> None:
    """Say what the run is, and in what it was made other than it would be here."""
    commit = record.sources[-1].commit
    of_study = f"trial {trial.number} of " if trial else ""
    console.say(f"{of_study}run {record.run_id} ({record.name}), of commit {commit.revision}")
    if commit.patch:
        patch = commit.patch.decode(errors="replace")
        changed = re.findall(r"^diff --git a/.* b/(.*)$", patch, re.M)
        console.say(f"with changes that were not committed: {', '.join(changed)}")
    now = provenance.environment()
    for source in record.sources:
        stage, then = source.provenance.stage, source.environment
        # Portable arithmetic is the same on every CPU.
        for key in ["gpu", "cpu"] if "CPU" in source.provenance.kernels else ["gpu"]:
            if then[key] != now[key]:
                console.say(f"{stage}: made on {key} {then[key]}; {now[key]} may round differently")
        packages = {
            name: version for name, version in then["packages"].items() if name in now["packages"]
        }
        if others := _changes(packages, {name: now["packages"][name] for name in packages}):
            console.say(f"{stage}: other versions of packages: {', '.join(others)}")


def _check(record: records.Record, trial: records.TrialRecord | None) -> None:
    """Refuse what has nothing to compare with, or would be computed by other versions."""
    if record.status != "FINISHED" and not trial:
        raise UserError(f"run {record.run_id} is {record.status}: it has no result to compare with")
    here = provenance.versions() | {"device": compute.device().type}
    for source in record.sources:
        then = source.provenance.versions | {"device": source.provenance.device}
        if others := _changes(then, here):
            raise UserError(
                f"run {record.run_id} was made with {'; '.join(others)}; it can be made again in "
                "an environment that has the same"
            )


def _changes(then: dict[str, str], here: dict[str, str]) -> list[str]:
    return [
        f"{name} {then.get(name, 'absent')} (here {here.get(name, 'absent')})"
        for name in sorted(then | here)
        if then.get(name) != here.get(name)
    ]


def _compare(record: records.Record, folder: Path) -> dict[str, list[str]]:
    """What differs in each file that the stages of the run make, or that it has."""
    made = record.made()
    stages = [source.provenance.stage for source in record.sources]
    return {
        str(path): comparison.files(made[path], folder / path)
        if path in made
        else ["not among the artifacts of the run"]
        for path in sorted({*made, *rebuild.outs(folder, stages)})
    }


def _compare_trial(
    trial: records.TrialRecord, origin: provenance.Provenance, folder: Path
) -> dict[str, list[str]]:
    """What differs in the hyperparameters and in the epochs of a trial."""
    (row,), epochs = (
        [row for row in comparison.rows(folder / path) if row.pop("number") == str(trial.number)]
        for path in ("reports/tune/trials.csv", "reports/tune/epochs.csv")
    )
    searched = ["state", *origin.params["tune"]["search_space"]]
    then, now = ({name: of.get(name, "") for name in searched} for of in (trial.row, row))
    return {
        "hyperparameters": comparison.tables([then], [now]),
        "epochs": comparison.tables(trial.epochs, epochs),
    }


if __name__ == "__main__":
    console.run(main)
