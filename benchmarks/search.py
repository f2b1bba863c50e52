"""What a search costs besides its trials, what its lag costs, and how busy its workers are.

python benchmarks/search.py
"""

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from mnist_cnn import params, stores
from mnist_cnn.datasets import arrays
from mnist_cnn.learning import data
from mnist_cnn.reproduce import provenance
from mnist_cnn.search import cluster, executors, study
from mnist_cnn.search.params import Tune
from mnist_cnn.search.running import Executor
from mnist_cnn.search.trial import ObjectiveFunction, train_network

import optuna
import torch
from surfaces import hartmann, trivial


def losses(tune: Tune, lag: int, trials: int, seed: int) -> list[float]:
    """The losses of such trials, in order of number."""
    changed = {
        "lag": lag,
        "seed": seed,
        "epochs": 1,
        "trials": trials,
        "objective": {"metric": "validation_loss", "direction": "minimize"},
        "search_space": {f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(6)},
    }
    own = Tune.model_validate(tune.model_dump() | changed)
    record = study.open_study("benchmark", "sqlite://", own.objective.direction)
    with ThreadPoolExecutor(1) as executor:
        return [trial.value or 0.0 for trial in study.search(own, hartmann, record, executor)]


def seconds(
    tune: Tune, objective: ObjectiveFunction, executor: Executor, *, checkpoints: bool = False
) -> float:
    """Seconds of a search with its study in a file."""
    with tempfile.TemporaryDirectory() as folder:
        record = study.open_study("benchmark", f"sqlite:///{folder}/optuna.db", "maximize")
        state = Path(folder) if checkpoints else None
        begun = time.perf_counter()
        for _ in study.search(tune, objective, record, executor, state):
            pass
        return time.perf_counter() - begun


def occupation(record: optuna.Study) -> tuple[float, float, float]:
    """How a study in Optuna's storage used its time.

    Returns:
        Seconds from the start of the first trial to the end of the last; the fraction of them in
        which no trial ran; the mean number of trials that ran at once.
    """
    trials = sorted(
        (trial.datetime_start.timestamp(), trial.datetime_complete.timestamp())
        for trial in record.get_trials(deepcopy=False)
    )
    begun, end = trials[0][0], trials[0][0]
    idle = 0.0
    for start, stop in trials:
        idle += max(0.0, start - end)
        end = max(end, stop)
    span = end - begun
    return span, idle / span, sum(stop - start for start, stop in trials) / span


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--trials", type=int, nargs="*", default=[100, 300, 1000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    settings = params.load()
    tune = settings.tune

    print("| trials that take no time | seconds | a trial, ms |")
    print("|--:|--:|--:|")
    with executors.process_pool(1) as executor:
        executor.submit(int).result()
        for trials in options.trials:
            taken = seconds(tune.model_copy(update={"trials": trials}), trivial, executor)
            print(f"| {trials:,} | {taken:.1f} | {1000 * taken / trials:.1f} |", flush=True)

    counts = (20, 50, 100)
    print(f"\n| lag | best loss after {' | after '.join(f'{count} trials' for count in counts)} |")
    print("|--:" * (1 + len(counts)) + "|")
    for lag in (1, 4, 8):
        found = [losses(tune, lag, max(counts), seed) for seed in range(options.seeds)]
        best = [statistics.mean(min(each[:count]) for each in found) for count in counts]
        print(f"| {lag} | {' | '.join(f'{mean:.2f}' for mean in best)} |", flush=True)

    short = tune.model_copy(update={"trials": 2 * tune.lag, "epochs": 1, "train_size": 10_000})
    train, validation = data.subset(
        data.load("train", arrays.folder("MNIST")),
        (short.train_size, short.validation_size),
        short.seed,
    )
    for tensor in (*train, *validation):
        tensor.share_memory_()
    objective = partial(
        train_network,
        tune=short,
        device="cpu",
        precision="float32",
        network=settings.model.network,
        form=arrays.read("train", arrays.folder("MNIST")).form,
        train=train,
        validation=validation,
    )
    print("\n| workers | processes, s | times one worker | Ray, s | times processes |")
    print("|--:|--:|--:|--:|--:|")
    alone = 0.0
    for size in options.workers:
        with (
            executors.process_pool(size) as pool,
            cluster.connect(size, short.threads, torch.device("cpu"), provenance.machine) as ray,
        ):
            taken = [
                [seconds(short, objective, executor, checkpoints=True) for executor in (pool, ray)]
                for _ in range(1 + options.repeats)
            ]
        # The first time starts and warms the processes.
        local, remote = map(statistics.median, zip(*taken[1:], strict=True))
        alone = alone or local
        print(
            f"| {size} | {local:.1f} | {local / alone:.2f} | {remote:.1f} | {remote / local:.2f} |",
            flush=True,
        )

    storage = stores.study_storage()
    print("\n| study | trials | seconds | no trial running | trials at once |")
    print("|---|--:|--:|--:|--:|")
    for summary in optuna.get_all_study_summaries(storage):
        if not summary.n_trials:
            continue
        record = optuna.load_study(study_name=summary.study_name, storage=storage)
        span, idle, at_once = occupation(record)
        name, count = summary.study_name, summary.n_trials
        print(f"| {name} | {count} | {span:.0f} | {idle:.1%} | {at_once:.2f} |")


if __name__ == "__main__":
    main()
