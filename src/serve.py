"""Serve predictions of a registered model over HTTP, on loopback."""

import argparse
import os
import sys
from pathlib import Path

from mnist_cnn import console, loopback, stores
from mnist_cnn.datasets import description, params
from mnist_cnn.tracking import registry


def main() -> None:
    """Become MLflow's scoring server, until Ctrl-C."""
    options = _options()
    found = registry.find_version(options.model or _champion())
    loopback.check_port(options.port)
    address = f"http://{loopback.HOST}:{options.port}/invocations"
    result = registry.result_of(found)
    described = f" ({result})" if result else ""
    console.write(f"{found.name} version {found.version}{described} on {address}")
    command = [
        # The version by its number: an alias could move in between.
        *("mlflow", "models", "serve", "--model-uri", f"models:/{found.name}/{found.version}"),
        *("--env-manager", "local", "--workers", "1"),
        *("--host", loopback.HOST, "--port", str(options.port)),
    ]
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": stores.tracking_uri(),
        "OMP_NUM_THREADS": "1",  # for a request; more are not faster
        # MLflow starts its server by name.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    # Replaces this process, so that a signal to it reaches the server.
    os.execve(sys.executable, [sys.executable, "-m", *command], environment)  # noqa: S606


def _champion() -> str:
    """The name of the best model for the data set in `params.yaml`."""
    return f"{description.load(params.load().dataset).model}@{registry.CHAMPION}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model",
        help="a registered model with an alias or a version, such as mnist-cnn/3 (default: the "
        "champion for the data set in params.yaml)",
    )
    parser.add_argument(
        "--port", type=int, default=5001, help=f"of {loopback.HOST} (default: %(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    console.run(main)
