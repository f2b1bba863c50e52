"""Answer programs over HTTP, on loopback, with a version of the model registry."""

import argparse
import os
import sys
from pathlib import Path

from mnist_cnn import console, loopback, params, registry, stores
from mnist_cnn.datasets import INFO


def main() -> None:
    """Become MLflow's scoring server, which answers until Ctrl-C."""
    options = _options()
    found = registry.find_version(options.model or _champion())
    loopback.check(options.port)
    address = f"http://{loopback.HOST}:{options.port}/invocations"
    console.say(f"{found.name} version {found.version}, on {address}")
    # Of the one version that was told, whoever becomes champion in between.
    command = [
        *("mlflow", "models", "serve", "--model-uri", f"models:/{found.name}/{found.version}"),
        *("--env-manager", "local", "--workers", "1"),
        *("--host", loopback.HOST, "--port", str(options.port)),
    ]
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": stores.tracking_uri(),
        "OMP_NUM_THREADS": "1",  # of a request; more are no faster
        # Where MLflow looks for the server that it starts.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    # In the place of this process, so that what ends it ends the server.
    os.execve(sys.executable, [sys.executable, "-m", *command], environment)  # noqa: S606


def _champion() -> str:
    """The name of the best network of the data set that `params.yaml` names."""
    return f"{INFO[params.load().download.dataset].model}@{registry.CHAMPION}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model",
        help="a registered model with an alias or a version, such as mnist-cnn/3 (default: the "
        "champion of the data set that params.yaml names)",
    )
    parser.add_argument(
        "--port", type=int, default=5001, help=f"of {loopback.HOST} (default: %(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    console.run(main)
