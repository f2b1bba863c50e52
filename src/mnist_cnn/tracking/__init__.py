"""MLflow: runs, the model registry, and the notes that people read there."""
