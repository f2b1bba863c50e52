"""The nouns of the project: data, model, training, search, metrics, plots and tracking.

The verbs are the scripts beside this package. Imports run one way, from scripts into the package,
and each large library is imported by one module only; `tests/test_architecture.py` holds the map.
"""
