"""MLflow: runs, the model registry, and the notes and tables that people read there."""
