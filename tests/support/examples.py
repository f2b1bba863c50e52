"""Examples that several test modules share."""

from pathlib import Path

from mnist_cnn.evaluation import model_card
from mnist_cnn.evaluation.paired_test import Validated
from mnist_cnn.evaluation.parts import Part

import numpy as np
import pytest
from described import DESCRIPTIONS

# Debian's package has the four `.gz` here, with other headers than those of the mirrors.
FASHION = Path("/usr/share/datasets/fashion-mnist")
on_fashion = pytest.mark.skipif(
    not FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed"
)


def idx(array):
    """An array of bytes as an IDX file."""
    sizes = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


FACTS = model_card.Facts(
    dataset=DESCRIPTIONS["MNIST"],
    architecture="Two convolutions.",
    hyperparameters={"learning_rate": 0.01, "optimizer": "adamw"},
    tuned=["learning_rate"],
    best_trial=7,
    temperature=0.875,
    training={
        "parameters": 196122,
        "train_examples": 60000,
        "epochs": 20,
        "train_accuracy": 0.995,
    },
    validated=Validated((("a", "1"), ("b", "2"), ("c", "3")), np.array([4, 2, 3]), seeds=4),
    summary={
        "accuracy": 0.9967,
        "accuracy_low": 0.9954,
        "accuracy_high": 0.9976,
        "mistakes": 33,
        "examples": 10_000,
        "f1_macro": 0.9965,
        "roc_auc_macro": 0.99999,
        "log_loss": 0.0107,
        "calibration_error": 0.0017,
    },
    confidence=0.95,
    evaluation=[
        Part(card={"F1, macro average": "0.9965"}, text="By class."),
        Part(card={"log loss, nats": "0.0107"}),
    ],
    complete=True,
    inputs={"models/best_model.pth": "0123456789abcdef0123456789abcdef"},
)
