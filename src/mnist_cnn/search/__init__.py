"""The hyperparameter search: its space, its trials, and the study that chooses them."""
