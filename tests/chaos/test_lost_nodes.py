"""Trials on a Ray cluster whose nodes, or whose first process, are killed."""

import sys

import psutil
from clone import make_clone, read_until, same_results_and_runs

SEARCH = """
import torch
from mnist_cnn import console
from mnist_cnn.reproduce import provenance
from mnist_cnn.search.cluster import connect
from studies import bowl_that_ends_its_node, make_tune, run_search

def main():
    with connect(None, 1, torch.device("cpu"), provenance.machine) as executor:
        run_search(make_tune(trials=2, lag=1), bowl_that_ends_its_node, executor=executor)

console.run(main)
"""


def test_a_killed_stage_continues_on_two_nodes_with_the_same_results(cluster, clone, tmp_path):
    for _ in range(2):
        cluster.add_node()
    killed = make_clone(tmp_path)
    killed.environment |= cluster.environment | {"TUNE_EXECUTOR": "ray"}
    at_head = ("ip", "netns", "exec", cluster.head)
    process = killed.start(*at_head, "dvc", "repro", "tune")
    read_until(process, "trial   0: ")
    for each in [*psutil.Process(process.pid).children(recursive=True), process]:
        each.kill()
    process.communicate()

    killed.run(*at_head, "dvc", "repro")
    same_results_and_runs(killed, clone)


def test_a_trial_that_ends_every_node_stops_the_search(cluster):
    for _ in range(4):
        cluster.add_node()
    search = cluster.start(sys.executable, "-c", SEARCH)
    output, _ = search.communicate(timeout=600)

    # Ray prints the log of a dead node in between.
    own = ("a node was lost", "error", "Traceback")
    lost = "a node was lost; trial 0 continues on another"
    assert [line for line in output.splitlines() if line.startswith(own)] == [
        *[lost] * 3,
        "error: trial 0 lost 4 nodes within one epoch; run the same command to continue",
    ]
