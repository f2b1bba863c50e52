"""The nouns of the project: data, model, training, search, metrics, plots, tracking and more.

The verbs are the scripts beside this package. Imports run one way, from scripts into the package,
and a large library is imported only where it is the subject; `tests/test_architecture.py` holds
the map.
"""

import os

from mnist_cnn import arithmetic

# Before NumPy and PyTorch load.
arithmetic.prepare()
# Before PyTorch loads OpenMP: how often a thread that waits for another looks before it sleeps.
# With its own 300,000, training is 17 times slower where another process keeps a core busy.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# Before anything imports MLflow, which reads them then.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# A server that is gone is given up after some 15 seconds instead of minutes, as it is asked again.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
