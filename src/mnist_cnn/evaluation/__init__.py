"""Evaluation on the test set: metrics, plots, report, model card."""
