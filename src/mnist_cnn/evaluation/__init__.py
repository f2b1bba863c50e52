"""What a model is worth on the test set: metrics, plots, the report, the model card."""
