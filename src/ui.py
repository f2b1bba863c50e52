"""Browse the runs in MLflow, on loopback."""

import argparse
import os
import sys

from mnist_cnn import console, loopback, stores
from mnist_cnn.errors import UserError
from mnist_cnn.tracking import experiment


def main() -> None:
    """Become MLflow's server, until Ctrl-C."""
    options = _options()
    uri = stores.tracking_uri()
    if uri.startswith("http"):
        raise UserError("MLFLOW_TRACKING_URI names a server: browse its address")
    loopback.check_port(options.port)
    # MLflow's first page is about language models; this one has the training runs.
    runs = f"#/experiments/{experiment.existing_id()}/runs?workflowType=machine_learning"
    console.write(
        f"In a few seconds, open http://{loopback.HOST}:{options.port}/{runs}; Ctrl-C ends it."
    )
    command = [
        *("mlflow", "ui", "--host", loopback.HOST, "--port", str(options.port), "--workers", "1"),
        # From pages of other sites (DNS rebinding), requests have another host.
        *("--allowed-hosts", f"localhost:*,{loopback.HOST}:*"),
        *("--uvicorn-opts", "--log-level warning"),  # not each request
    ]
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_REGISTRY_STORE_URI": uri,
        "PYTHONWARNINGS": "ignore:starlette.middleware",  # of MLflow's own code
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    # Replaces this process, so that a signal to it reaches the server.
    os.execve(sys.executable, [sys.executable, "-m", *command], environment)  # noqa: S606


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--port", type=int, default=5000, help=f"of {loopback.HOST} (default: %(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    console.run(main)
