"""Trials on a Ray cluster give the results of one process, whatever happens to its nodes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from importlib.metadata import distribution
from pathlib import Path

from mnist_cnn.reproduce import provenance
from mnist_cnn.search.cluster import connect
from mnist_cnn.search.summary import trials_table

import cluster_search
import torch
from clone import ROOT
from ray_nodes import SUPPORT, wait_until
from studies import bowl_with_failures, bowl_with_kills, run_search


def start_search(cluster, log, seconds=0.0):
    return cluster.start(sys.executable, str(SUPPORT / "cluster_search.py"), str(log), str(seconds))


def ends_as_in_one_process(search):
    """Wait for the end of a search, and return what it printed before its table."""
    output, _ = search.communicate(timeout=300)
    *lines, table = output.splitlines() or [""]
    assert search.returncode == 0, output
    assert json.loads(table) == trials_table(run_search(cluster_search.TUNE))
    return lines


def test_a_node_is_lost_and_another_is_added_in_the_middle_of_a_search(cluster, tmp_path):
    nodes = [cluster.add_node() for _ in range(3)]
    log = tmp_path / "epochs.log"
    search = start_search(cluster, log, seconds=1)
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) >= 4)
    cluster.network.kill(nodes[0])
    cluster.add_node()

    lines = ends_as_in_one_process(search)
    assert [line for line in lines if line.startswith("a node was lost; trial ")]
    epochs = Counter(log.read_text().splitlines())
    assert sum(epochs.values()) - len(epochs) <= 1, "a finished epoch was computed again"


def test_a_node_that_would_compute_something_else_is_not_used(cluster, tmp_path):
    """One has another Optuna, one a PyTorch that cannot be loaded, and one an old CPU."""
    metadata = distribution("optuna")._path
    shutil.copytree(metadata, tmp_path / "other/optuna-4.9.0.dist-info")
    content = (metadata / "METADATA").read_text()
    other = content.replace(f"\nVersion: {distribution('optuna').version}\n", "\nVersion: 4.9.0\n")
    (tmp_path / "other/optuna-4.9.0.dist-info/METADATA").write_text(other)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/torch.py").write_text("raise OSError('libcudart.so.13: not found')")
    cpuinfo = Path("/proc/cpuinfo").read_text().replace(" avx2 ", " ")
    (tmp_path / "cpuinfo").write_text(re.sub("model name.*", "model name\t: Old CPU", cpuinfo))
    cluster.add_node(PYTHONPATH=f"{tmp_path / 'other'}:{SUPPORT}")
    cluster.add_node(PYTHONPATH=f"{tmp_path / 'broken'}:{SUPPORT}")
    cluster.add_node(cpuinfo=tmp_path / "cpuinfo")

    search = start_search(cluster, tmp_path / "epochs.log")
    output, _ = search.communicate(timeout=300)
    *refused, error = output.splitlines()
    assert search.returncode == 1
    assert sorted(refused) == [
        f"node 10.99.0.2 is not used: optuna 4.9.0 in place of {distribution('optuna').version}",
        "node 10.99.0.3 is not used: OSError: libcudart.so.13: not found",
        "node 10.99.0.4 is not used: Old CPU is not an x86-64 CPU with AVX2 and FMA",
    ]
    assert error.startswith("error: no node of the Ray cluster can be used: ")

    cluster.add_node()
    assert set(ends_as_in_one_process(start_search(cluster, tmp_path / "epochs.log"))) <= {*refused}


def test_a_search_waits_for_a_first_node(cluster, tmp_path):
    search = start_search(cluster, tmp_path / "epochs.log")
    line = search.stdout.readline()
    assert line == "no node of the Ray cluster has room for a trial (CPUs: 1); waiting\n"
    cluster.add_node()
    assert ends_as_in_one_process(search) == []


def test_a_search_ends_when_it_is_interrupted(cluster, tmp_path):
    cluster.add_node()
    log = tmp_path / "epochs.log"
    search = start_search(cluster, log, seconds=1)
    wait_until(log.exists)
    search.send_signal(signal.SIGINT)
    output, _ = search.communicate(timeout=300)
    assert (search.returncode, output) == (1, "interrupted; run the same command to continue\n")


def test_a_cluster_that_does_not_answer_is_reported_in_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, SUPPORT / "cluster_search.py", tmp_path / "log", "0"],
        env=os.environ | {"RAY_ADDRESS": "127.0.0.1:1", "PYTHONPATH": str(SUPPORT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: Ray at 127.0.0.1:1: ")
    assert done.stderr.count("\n") == 1


def test_a_trial_that_kills_its_worker_twice_fails(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT))
    with connect(2, 1, torch.device("cpu"), provenance.machine) as executor:
        trials = run_search(cluster_search.TUNE, bowl_with_kills, executor=executor)

    failing = run_search(cluster_search.TUNE, bowl_with_failures)
    assert trials_table(trials) == trials_table(failing)
    assert {trial.cause for trial in trials if trial.state == "failed"} == {
        "its process was killed, as happens when memory runs out"
    }


def test_ray_is_optional():
    code = "import sys; sys.modules['ray'] = None; sys.argv = ['tune.py', '--executor', 'ray']"
    script = f"{code}; import runpy; runpy.run_path('src/tune.py', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        1,
        "error: no Ray here; `pip install 'mnist-cnn[ray]'`\n",
    )
