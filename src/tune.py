"""Stage `tune`: search the hyperparameters, judged on a validation split of the training set."""

import argparse
import os
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mnist_cnn import (
    arithmetic,
    compute,
    console,
    data,
    files,
    notes,
    params,
    provenance,
    results,
    runs,
    search,
    stores,
    tracking,
    work,
    workers,
)

REPORTS = Path("reports/tune")


def main() -> None:
    """Run the study, or what is left of it, and write its report."""
    size = _workers()
    given = params.load()
    arithmetic.ensure(given.compute.arithmetic)
    compute.configure(given.tune.threads, given.compute.arithmetic)
    tune, dataset = given.tune, given.download.dataset
    raw = data.folder(dataset)
    origin = provenance.of_stage("tune")
    train, validation = data.subset(
        data.load("train", raw), (tune.train_size, tune.validation_size), tune.seed
    )
    for tensor in (*train, *validation):
        tensor.share_memory_()  # one copy for all workers
    objective = partial(search.train_network, tune=tune, train=train, validation=validation)

    finished: list[results.Trial] = []
    entries: deque[Callable[[], object]] = deque()
    with (
        work.claim(origin) as job,
        runs.of_work(origin, provenance.commit(), work=job.name) as run,
        console.progress(tune.trials, "trials", "trial") as bar,
        workers.pool(size or workers.fitting(tune.threads)) as executor,
    ):
        images, _ = data.paths("train", raw)
        tracking.log_dataset(dataset, "train", train, images)
        tracking.log_dataset(dataset, "validation", validation, images)
        study = search.open_study(job.name, stores.study_storage())
        for trial in search.search(tune, objective, study, executor, job.folder):
            finished.append(trial)
            entries.append(partial(_log_trial, run, tune, trial))
            tracking.log_now(entries)
            console.say(results.describe(trial))
            bar.set_postfix_str(results.describe_best(finished), refresh=False)
            bar.update()
        summary = _write_report(tune, finished)
        # The processes that run trials import this script too, and draw nothing.
        from mnist_cnn import study_plots  # noqa: PLC0415

        pictured = search.in_memory(finished, tune.search_space)
        for name, figure in study_plots.figures(pictured).items():
            files.write_png(REPORTS / f"{name}.png", figure)
        tracking.log_all(entries)
        note = notes.study(summary, examples=tune.train_size, held_out=tune.validation_size)
        tracking.describe(run, note)
        tracking.log_metrics(summary)
        tracking.log_folder(REPORTS)
        tracking.log_page("study.html", study_plots.page(pictured))
        runs.log_made(REPORTS / "best_params.json", REPORTS / "trials.csv")


def _log_trial(run: str, tune: params.Tune, trial: results.Trial) -> None:
    tracking.log_trial(
        run,
        trial.number,
        state=trial.state,
        hyperparameters=tune.hyperparameters | trial.hyperparameters,
        history=[epoch.row() for epoch in trial.history],
        times=trial.times,
        note=notes.trial(trial.number, trial.state, len(trial.history), trial.value),
        error=trial.error,
    )


def _write_report(tune: params.Tune, finished: Sequence[results.Trial]) -> dict[str, Any]:
    """Write tables and the best hyperparameters, and return the summary."""
    best = results.best(finished)
    chosen = tune.hyperparameters | best.hyperparameters
    files.write_json(REPORTS / "best_params.json", dict(sorted(chosen.items())))
    summary = results.summary(finished)
    files.write_json(REPORTS / "metrics.json", summary)
    files.write_csv(REPORTS / "trials.csv", results.table(finished))
    files.write_csv(REPORTS / "epochs.csv", results.epochs_table(finished))
    console.say(f"best of all: {results.describe(best)}; {REPORTS / 'best_params.json'}")
    return summary


def _workers() -> int | None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--workers",
        type=_positive,
        default=os.environ.get("TUNE_WORKERS"),
        help="trials to run at once; changes nothing but the time (default: $TUNE_WORKERS, "
        "else as many as there are cores for)",
    )
    size: int | None = console.options(parser).workers
    return size


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers, 1 or more")
    return int(text)


if __name__ == "__main__":
    console.run(main)
