"""Stage `tune`: search for hyperparameters with Optuna, by a metric of the epochs."""

import argparse
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from mnist_cnn import console, faults, files, params, stores
from mnist_cnn.datasets import arrays
from mnist_cnn.errors import UserError
from mnist_cnn.learning import arithmetic, compute, data
from mnist_cnn.reproduce import jobs, provenance
from mnist_cnn.reproduce.jobs import Job
from mnist_cnn.search import executors, finalists, study, summary
from mnist_cnn.search.finalists import Finalist
from mnist_cnn.search.params import Tune
from mnist_cnn.search.running import Executor
from mnist_cnn.search.trial import ObjectiveFunction, Trial, train_network
from mnist_cnn.tracking import notes, views
from mnist_cnn.tracking.resume import resume_run
from mnist_cnn.tracking.run import Run, metric_name

import torch

REPORTS = Path("reports/tune")
BEST_PARAMS = REPORTS / "best_params.json"
TRIALS = REPORTS / "trials.csv"
PREDICTIONS = REPORTS / "validation_predictions.csv"
CALIBRATION = REPORTS / "calibration.json"


def main() -> None:
    """Run the search, or resume it, and write its report."""
    options = _options()
    settings = params.load()
    arithmetic.restart_with(settings.compute.arithmetic)
    tune, dataset = settings.tune, settings.download.dataset
    compute.configure(tune.threads, settings.compute.arithmetic)
    device = compute.device(settings.compute.device)
    origin = provenance.of_stage("tune", device)
    folder = arrays.folder(dataset)
    whole = data.load("train", folder)
    train, validation = data.subset(whole, (tune.train_size, tune.validation_size), tune.seed)
    for tensor in (*train, *validation):
        tensor.share_memory_()  # one copy for all workers
    objective = partial(
        train_network,
        tune=tune,
        device=settings.compute.device,
        precision=settings.compute.precision,
        network=settings.model.network,
        form=whole.form,
        train=train,
        validation=validation,
    )

    with (
        jobs.claim(origin.inputs) as job,
        resume_run("tune", job.name, origin.tags()) as run,
        _executor(options, tune.threads, device) as executor,
    ):
        views.save(tune)
        run.log_params(origin.params())
        run.log_provenance("tune", origin.document(), origin.patch)
        run.log_dataset(dataset, "train", train, folder / "train")
        run.log_dataset(dataset, "validation", validation, folder / "train")
        trials = _search(tune, objective, job, run, executor)
        full_length = finalists.at_full_length(tune, settings.train.epochs)
        trained = _train_finalists(full_length, objective, trials, job, run, executor)
        best = finalists.best(trained, tune.objective)
        networks = finalists.networks(
            best, tune, settings.model.network, whole.form, device, job.folder
        )
        files.write_csv(PREDICTIONS, finalists.predictions(networks, validation, device))
        files.write_json(
            CALIBRATION,
            finalists.calibrate(networks, train.to(device), validation.to(device), tune.rejected),
        )
        metrics, page = _write_report(tune, trials, trained, best)
        run.flush()
        sizes = {"train_size": len(train.labels), "validation_size": len(validation.labels)}
        run.set_note(notes.study(metrics, tune.objective, **sizes))
        chosen = best.metrics(tune.objective)
        run.log_metrics({metric_name(name): value for name, value in chosen.items()})
        run.log_folder(REPORTS)
        run.log_text("study.html", page)
        run.log_outputs(BEST_PARAMS, CALIBRATION, TRIALS, PREDICTIONS)


def _search(
    tune: Tune, objective: ObjectiveFunction, job: Job, run: Run, executor: Executor
) -> list[Trial]:
    """Run the trials, and print and log each."""
    finished: list[Trial] = []
    recorded = study.open_study(job.name, stores.study_storage(), tune.objective.direction)
    with console.progress_bar(tune.trials, "trials", "trial") as bar:
        for trial in study.search(tune, objective, recorded, executor, job.folder):
            finished.append(trial)
            run.log_later(partial(run.log_trial, trial, tune))
            if trial.traceback and not any(each.traceback for each in finished[:-1]):
                console.write(trial.traceback)  # of the first one, as others may fail alike
            console.write(trial.describe(tune.objective))
            if any(each.state == "complete" for each in finished):
                best = summary.ranked(finished, tune.objective)[0]
                if trial.state == "complete":
                    run.log_later(partial(run.log_progress, trial, best, tune.objective))
                value = tune.objective.format(best.value or 0.0)
                bar.set_postfix_str(f"best {value}", refresh=False)
            bar.update()
    return finished


def _train_finalists(
    tune: Tune,
    objective: ObjectiveFunction,
    trials: Sequence[Trial],
    job: Job,
    run: Run,
    executor: Executor,
) -> list[Finalist]:
    """Train the best trials at full length, and print and log each."""
    trained: list[Finalist] = []
    complete = sum(trial.state == "complete" for trial in trials)
    total = min(tune.finalists.trials, complete)
    with console.progress_bar(total, "finalists", "finalist") as bar:
        for finalist in finalists.train(tune, objective, trials, executor, job.folder):
            trained.append(finalist)
            run.log_later(partial(run.log_finalist, finalist, tune))
            for each in finalist.trainings:
                if each.traceback:
                    console.write(each.traceback)
            console.write(finalist.describe(tune.objective))
            bar.update()
    return trained


def _write_report(
    tune: Tune, trials: Sequence[Trial], trained: Sequence[Finalist], best: Finalist
) -> tuple[dict[str, Any], str]:
    """Write tables, plots and the best hyperparameters; return the summary and an HTML page."""
    # Workers import this script as well, and plot nothing.
    from mnist_cnn.search import plots  # noqa: PLC0415

    faults.point("search ended")
    hyperparameters = tune.hyperparameters | best.trial.hyperparameters
    metrics = finalists.summary(best, tune.objective)
    files.write_json(BEST_PARAMS, dict(sorted(hyperparameters.items())))
    files.write_json(REPORTS / "metrics.json", metrics)
    files.write_csv(TRIALS, summary.trials_table(trials))
    files.write_csv(REPORTS / "epochs.csv", summary.epochs_table(trials))
    files.write_csv(REPORTS / "finalists.csv", finalists.table(trained))
    for name, figure in plots.draw(tune, trials, trained, best).items():
        files.write_png(REPORTS / "plots" / f"{name}.png", figure)
    value = tune.objective.format(best.mean(tune.objective.metric))
    for tied in finalists.tied(trained, best, tune.objective):
        console.write(f"trial {tied.trial.number:3} has {value} too, but a higher loss")
    console.write(f"best: {best.describe(tune.objective)}; {BEST_PARAMS}")
    counts = summary.summary(trials) | {"finalists": len(trained)}
    page = plots.page(study.study_of(trials, tune), tune.objective.label)
    return counts | metrics, page


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--workers",
        type=_positive,
        default=os.environ.get("TUNE_WORKERS"),
        help="trials to run in parallel; changes only the time (default: $TUNE_WORKERS, or as many "
        "as there are cores for)",
    )
    parser.add_argument(
        "--executor",
        type=_executor_name,
        metavar="{processes,ray}",
        default=os.environ.get("TUNE_EXECUTOR", "processes"),
        help="what runs trials; changes only the time: processes of this machine, or the Ray "
        "cluster at $RAY_ADDRESS (default: $TUNE_EXECUTOR, or processes)",
    )
    return console.parse_args(parser)


def _executor(
    options: argparse.Namespace, threads: int, device: torch.device
) -> AbstractContextManager[Executor]:
    if options.executor == "processes":
        size = options.workers or executors.default_size(threads, device)
        return executors.process_pool(size, executors.gpus(device))
    try:
        from mnist_cnn.search import cluster  # noqa: PLC0415 - Ray is an extra
    except ModuleNotFoundError as error:
        raise UserError("no Ray here; `pip install 'mnist-cnn[ray]'`") from error
    return cluster.connect(options.workers, threads, device, provenance.machine)


def _executor_name(text: str) -> str:
    if text not in {"processes", "ray"}:
        raise argparse.ArgumentTypeError(f"{text!r} is neither processes nor ray")
    return text


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 1 or more")
    return int(text)


if __name__ == "__main__":
    console.run(main)
