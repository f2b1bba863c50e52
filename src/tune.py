"""Stage `tune`: search for hyperparameters with Optuna, by a metric of the epochs."""

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mnist_cnn import console, faults, files, params, stores
from mnist_cnn.datasets import arrays
from mnist_cnn.learning import arithmetic, compute, data
from mnist_cnn.reproduce import jobs, provenance
from mnist_cnn.search import executors, study, summary
from mnist_cnn.search.params import Tune
from mnist_cnn.search.trial import Trial, train_network
from mnist_cnn.tracking import notes
from mnist_cnn.tracking.run import resume_run

REPORTS = Path("reports/tune")


def main() -> None:
    """Run the search, or resume it, and write its report."""
    workers = _workers()
    settings = params.load()
    arithmetic.restart_with(settings.compute.arithmetic)
    tune, dataset = settings.tune, settings.download.dataset
    compute.configure(tune.threads, settings.compute.arithmetic)
    origin = provenance.of_stage("tune")
    folder = arrays.folder(dataset)
    whole = data.load("train", folder)
    train, validation = data.subset(whole, (tune.train_size, tune.validation_size), tune.seed)
    for tensor in (*train, *validation):
        tensor.share_memory_()  # one copy for all workers
    objective = partial(
        train_network,
        tune=tune,
        network=settings.model.network,
        form=whole.form,
        train=train,
        validation=validation,
    )

    finished: list[Trial] = []
    with (
        jobs.claim(origin.inputs) as job,
        resume_run("tune", job.name, origin.tags()) as run,
        console.progress_bar(tune.trials, "trials", "trial") as bar,
        executors.process_pool(workers or executors.default_size(tune.threads)) as executor,
    ):
        run.log_params(origin.params())
        run.log_provenance("tune", origin.document(), origin.patch)
        run.log_dataset(dataset, "train", train, folder / "train")
        run.log_dataset(dataset, "validation", validation, folder / "train")
        recorded = study.open_study(job.name, stores.study_storage(), tune.objective.direction)
        for trial in study.search(tune, objective, recorded, executor, job.folder):
            finished.append(trial)
            run.log_later(partial(run.log_trial, trial, tune))
            if trial.error and all(each.state != "failed" for each in finished[:-1]):
                console.write(trial.error.rstrip())  # of the first one, as others may fail alike
            console.write(trial.describe(tune.objective))
            bar.set_postfix_str(_best_so_far(tune, finished), refresh=False)
            bar.update()
        metrics, page = _write_report(tune, finished)
        run.flush()
        run.set_note(
            notes.study(
                metrics,
                tune.objective,
                train_size=len(train.labels),
                validation_size=len(validation.labels),
            )
        )
        run.log_metrics(metrics)
        run.log_folder(REPORTS)
        run.log_text("study.html", page)
        run.log_outputs(REPORTS / "best_params.json", REPORTS / "trials.csv")


def _best_so_far(tune: Tune, finished: Sequence[Trial]) -> str:
    if not any(trial.state == "complete" for trial in finished):
        return ""
    return f"best {tune.objective.format(summary.best(finished, tune.objective).value or 0.0)}"


def _write_report(tune: Tune, finished: Sequence[Trial]) -> tuple[dict[str, Any], str]:
    """Write tables, plots and the best hyperparameters; return the summary and an HTML page."""
    # Workers import this script as well, and plot nothing.
    from mnist_cnn.search import plots  # noqa: PLC0415

    faults.point("search ended")
    best = summary.best(finished, tune.objective)
    hyperparameters = tune.hyperparameters | best.hyperparameters
    metrics = summary.summary(finished, tune.objective)
    files.write_json(REPORTS / "best_params.json", dict(sorted(hyperparameters.items())))
    files.write_json(REPORTS / "metrics.json", metrics)
    files.write_csv(REPORTS / "trials.csv", summary.trials_table(finished))
    files.write_csv(REPORTS / "epochs.csv", summary.epochs_table(finished))
    plotted = study.study_of(finished, tune)
    for name, figure in plots.figures(plotted, tune.objective.label).items():
        files.write_png(REPORTS / "plots" / f"{name}.png", figure)
    console.write(f"best: {best.describe(tune.objective)}; {REPORTS / 'best_params.json'}")
    return metrics, plots.page(plotted, tune.objective.label)


def _workers() -> int | None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--workers",
        type=_positive,
        default=os.environ.get("TUNE_WORKERS"),
        help="trials to run in parallel; changes only the time (default: $TUNE_WORKERS, or as many "
        "as there are cores for)",
    )
    workers: int | None = console.parse_args(parser).workers
    return workers


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 1 or more")
    return int(text)


if __name__ == "__main__":
    console.run(main)
