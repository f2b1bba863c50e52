"""A search on the cluster at `$RAY_ADDRESS`: prints its table of trials as the last line.

Usage: cluster_search.py LOG SECONDS
"""

import json
import sys
import time
from functools import partial
from pathlib import Path

from mnist_cnn import console
from mnist_cnn.files import write_text
from mnist_cnn.reproduce import provenance
from mnist_cnn.search import cluster
from mnist_cnn.search.summary import trials_table

import torch
from studies import bowl, make_tune, run_search

TUNE = make_tune(trials=6, lag=3)


def slow_bowl(log, seconds, hyperparameters, seed, epochs, checkpoint):
    """`bowl`, of which an epoch takes time and adds a line to a log; it can be resumed."""
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    for epoch in bowl(hyperparameters, seed, epochs, checkpoint):
        if epoch.epoch > done:
            time.sleep(seconds)
            with log.open("a") as file:
                file.write(f"{seed} {epoch.epoch}\n")
            write_text(checkpoint, str(epoch.epoch))
        yield epoch


def main() -> None:
    log, seconds = Path(sys.argv[1]), float(sys.argv[2])
    checkpoints = log.parent / "checkpoints"
    with cluster.connect(None, 1, torch.device("cpu"), provenance.machine) as executor:
        trials = run_search(
            TUNE, partial(slow_bowl, log, seconds), executor=executor, checkpoints=checkpoints
        )
    print(json.dumps(trials_table(trials)))


if __name__ == "__main__":
    console.run(main)
