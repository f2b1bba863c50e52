"""Tune, train and evaluate a CNN so that every result can be reproduced from git.

The sub-packages differ by what they decide. `datasets`, `networks`, `learning`, `search` and
`evaluation` hold all that can change a result; stages depend on them in `dvc.yaml`. `inference`,
`tracking` and `reproduce` cannot. Imports run one way, as `tests/unit/test_architecture.py` shows.
"""

import getpass
import os
import sys

from mnist_cnn.learning import arithmetic

# Before NumPy and PyTorch load.
arithmetic.prepare()
# How long an idle OpenMP thread spins before it sleeps. With the default, 300,000, training takes
# 17 times as long while another process keeps a core busy.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# The user of a container may have no name, for which MLflow asks, and no home.
try:
    getpass.getuser()
except (KeyError, OSError):
    os.environ["USER"] = str(os.getuid())
if os.environ.get("HOME", "/") == "/":
    os.environ["HOME"] = sys.prefix
# Before MLflow loads.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Give up after 15 seconds without a server, instead of minutes; we try again later.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
