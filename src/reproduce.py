"""Rebuild the result of an MLflow run from git, and compare it with what the run has."""

import argparse
import re
import sys
import tempfile
from pathlib import Path

from mnist_cnn import console
from mnist_cnn.reproduce import comparison, run_record, worktree
from mnist_cnn.reproduce.run_record import RunRecord, TrialRecord

EPILOG = """\
The commit, the uncommitted changes and the parameters of the run are checked out into a worktree,
in which DVC runs all stages up to that of the run. The working tree, the stores and the lock file
of this clone do not change. For a trial, its whole study is rebuilt.

This executes the code of the run. If others can write to your MLflow store, read the patch among
the artifacts of the run first.

The exit status is 0 if every file is the same byte for byte. It is 1 if one differs, or if the run
cannot be rebuilt. Remove a kept folder with `git worktree remove --force FOLDER`.

examples:
  python src/reproduce.py mnist-cnn@champion
  python src/reproduce.py models/best_model.pth --force
  python src/reproduce.py 8c1f0d6f5a9d4b3b9a53d8f0a1b2c3d4 --keep ../rebuilt
"""


def main() -> None:
    """Rebuild, compare, and print the differences."""
    options = _options()
    try:
        differences, computed = _reproduce(options)
    except KeyboardInterrupt:
        sys.exit("interrupted")

    for name, lines in differences.items():
        console.write(f"{'different' if lines else 'same     '}  {name}")
        for line in lines:
            console.write(f"             {line}")
    if options.keep:
        remove = f"git worktree remove --force {options.keep}"
        console.write(f"kept in {options.keep}; `{remove}` removes it")
    if not computed:
        console.write("nothing was computed: this clone has all results; --force computes them")
    if different := sum(map(bool, differences.values())):
        sys.exit(f"{different} of {len(differences)} differ")
    console.write(f"all {len(differences)} are the same")


def _reproduce(options: argparse.Namespace) -> tuple[dict[str, list[str]], bool]:
    """The differences by file, or by part of a trial; and whether anything was computed."""
    with tempfile.TemporaryDirectory(prefix="reproduce-") as scratch:
        record, trial = run_record.read(run_record.find_run(options.run), Path(scratch))
        _describe(record, trial)
        comparison.check_comparable(record, trial)
        inputs = [each.inputs for each in record.provenance]
        last, commit = inputs[-1], record.commit

        folder = options.keep or Path(scratch, "worktree")
        with worktree.worktree(last, commit, folder, keep=bool(options.keep)) as project:
            worktree.restore(project, inputs)
            console.write(f"in {project}, with separate stores:")
            computed = worktree.repro(project, last.stage, force=options.force)
            for each in inputs:
                for name in worktree.changed_inputs(each, project):
                    console.write(f"{name} is not what {each.stage} used")
            differences = comparison.compare_run(record, trial, project)
    return differences, computed


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        help="the id of a run; a registered model such as mnist-cnn@champion or mnist-cnn/3; a "
        ".pth file; or the MD5 of a .pth, best_params.json or trials.csv",
    )
    parser.add_argument(
        "--force", action="store_true", help="compute everything, even what this clone has"
    )
    parser.add_argument(
        "--keep", type=_new_folder, metavar="FOLDER", help="work in this new folder, and keep it"
    )
    return parser.parse_args()


def _new_folder(text: str) -> Path:
    folder = Path(text).absolute()
    if folder.exists():
        raise argparse.ArgumentTypeError(f"{text} exists")
    return folder


def _describe(record: RunRecord, trial: TrialRecord | None) -> None:
    """Print what the run is, and in what it differs from a run on this machine."""
    commit = record.commit
    of_study = f"trial {trial.number} of " if trial else ""
    if trial and trial.seed is not None:
        of_study = f"finalist {trial.number} (seed {trial.seed}) of "
    console.write(f"{of_study}run {record.run_id} ({record.name}), commit {commit.revision}")
    if commit.patch:
        patch = commit.patch.decode(errors="replace")
        changed = re.findall(r"^diff --git a/.* b/(.*)$", patch, re.M)
        console.write(f"with uncommitted changes: {', '.join(changed)}")
    for line in comparison.compare_environments(record):
        console.write(line)


if __name__ == "__main__":
    console.run(main)
