"""Servers under test, on loopback, killed at the end of the test."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import requests
from clone import ROOT

BIN = Path(sys.executable).parent
# Runs a target of the Makefile in any folder, in the environment of the tests.
MAKE = ["make", "--makefile", str(ROOT / "Makefile"), "--old-file", ".venv/.ready", f"BIN={BIN}"]


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(host: str, port: int) -> bool:
    """Whether something listens on this port."""
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


@contextmanager
def serve(
    folder: Path, command: Sequence[str], port: int, *, path: str = "/health", **variables: str
) -> Iterator[str]:
    """Run a server in a folder; yield its address as soon as it answers at `path`."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "MAKE"))
    } | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_PORT": str(port),
        "MLFLOW_WORKERS": "1",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    log = folder / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=environment | variables,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while not answers(f"http://127.0.0.1:{port}{path}"):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def mlflow_server(folder: Path, port: int):
    """MLflow's tracking server, with its database and artifacts in a folder."""
    stores = ["--backend-store-uri", "sqlite:///server.db", "--artifacts-destination", "artifacts"]
    return serve(folder, ["mlflow", "server", "--port", str(port), *stores], port)


def answers(url: str) -> bool:
    """Whether a server answers at this address without an error."""
    with suppress(requests.ConnectionError):
        return requests.get(url, timeout=10).ok
    return False
