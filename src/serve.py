"""Answer programs over HTTP, on loopback, with a version of the model registry."""

import argparse
import os
import sys
from pathlib import Path

from mnist_cnn import console, registry, stores
from mnist_cnn.errors import UserError

HOST = "127.0.0.1"
DEFAULT = f"{registry.MODEL}@{registry.CHAMPION}"


def main() -> None:
    """Become MLflow's scoring server, which answers until Ctrl-C."""
    options = _options()
    try:
        found = registry.find_version(options.model)
    except UserError as error:
        if options.model != DEFAULT:
            raise
        raise UserError(f"{error}; where there is no champion, `make repro` makes one") from None
    console.say(
        f"{found.name} version {found.version}, on http://{HOST}:{options.port}/invocations"
    )
    # Of the one version that was told, whoever becomes champion in between.
    command = [
        *("mlflow", "models", "serve", "--model-uri", f"models:/{found.name}/{found.version}"),
        *("--env-manager", "local", "--workers", "1"),
        *("--host", HOST, "--port", str(options.port)),
    ]
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": stores.tracking_uri(),
        "OMP_NUM_THREADS": "1",  # of a request; more are no faster
        # Where MLflow looks for the server that it starts.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    # In the place of this process, so that what ends it ends the server.
    os.execve(sys.executable, [sys.executable, "-m", *command], environment)  # noqa: S606


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model",
        default=DEFAULT,
        help="with an alias or a version, such as mnist-cnn/3 (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=5001, help=f"of {HOST} (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    console.run(main)
