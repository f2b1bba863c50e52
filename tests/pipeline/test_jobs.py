"""A job whose process is killed is resumed by the process that waits for it."""

import os
import subprocess
import sys

SCRIPT = """
import time
from mnist_cnn.reproduce import jobs
from mnist_cnn.reproduce.provenance import Inputs

with jobs.claim(Inputs("train", {}, {}, {}, "cpu", {})) as job:
    print(job.name, flush=True)
    time.sleep(600)
"""


def start(folder):
    """Start a process that runs a job, or waits for it."""
    environment = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_waiting_process_resumes_the_job_of_a_killed_one(tmp_path):
    with start(tmp_path) as first:
        name = first.stdout.readline()
        with start(tmp_path) as second:
            try:
                assert second.stdout.readline().startswith("another process runs this train")
                first.kill()
                assert second.stdout.readline() == name != ""
            finally:
                first.kill()
                second.kill()
