"""Which images from elsewhere the model accepts, by several scores, and how it reads other hands.

    python benchmarks/familiarity.py
    python benchmarks/familiarity.py --fashion /usr/share/datasets/fashion-mnist

A score accepts an image if it is at least the quantile of MNIST's test images that keeps 95 % or
99 % of them. The images from other hands are the 1,797 digits of scikit-learn, each pixel enlarged.
"""

import argparse
import gzip
from pathlib import Path

from mnist_cnn.datasets import arrays, idx
from mnist_cnn.errors import UserError
from mnist_cnn.evaluation.out_of_distribution import unusual_images
from mnist_cnn.inference import predictor
from mnist_cnn.learning import calibration, data

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import Tensor

Scores = dict[str, NDArray[np.float64]]


def scores(loaded: predictor.Predictor, images: Tensor) -> Scores:
    """Each score of images `uint8 (n, 1, 28, 28)`, higher for digits."""
    with torch.inference_mode():
        logits = torch.cat([loaded.model(batch) for batch in images.split(250)]).double()
    familiarity = calibration.predict(loaded.model, loaded.calibration, images).familiarity
    return {
        "softmax": logits.softmax(1).amax(1).numpy(),
        "largest logit": logits.amax(1).numpy(),
        "energy": logits.logsumexp(1).numpy(),
        "familiarity": familiarity.numpy(),
    }


def compare(digits: Scores, others: Scores, kind: str) -> None:
    """Print a row for each score."""
    for name, known in digits.items():
        unknown = others[name]
        truth = np.repeat([1, 0], [len(known), len(unknown)])
        area = roc_auc_score(truth, np.concatenate([known, unknown]))
        accepted = (f"{(unknown >= np.quantile(known, q)).mean():.1%}" for q in (0.05, 0.01))
        print(f"| {kind} | {name} | {area:.4f} | {' | '.join(accepted)} |")


def read_other_hands(loaded: predictor.Predictor) -> str:
    """How the digits of scikit-learn are read."""
    found = load_digits()
    inputs, labels, refused = [], [], 0
    for image, label in zip(found.images, found.target, strict=True):
        enlarged = np.kron(255 - image * 255 / 16, np.ones((8, 8))).astype(np.uint8)
        try:
            inputs.append(loaded.preprocess(enlarged[np.newaxis], "digit"))
            labels.append(label)
        except UserError:
            refused += 1
    predictions = loaded.predict(np.stack(inputs))
    right = predictions.probabilities.argmax(1).numpy() == labels
    known = predictions.familiarity.numpy() >= 0
    total = len(found.images)
    return (
        f"{total:,} digits of scikit-learn: {(right & known).mean():.1%} right and accepted, "
        f"{right.sum() / total:.1%} right, {(~known).sum()} unknown, {refused} refused"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fashion", type=Path, help="a folder with the test set of Fashion-MNIST")
    predictor.add_model_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(2)
    loaded = predictor.load(options.model)
    images = data.load("test", arrays.folder("MNIST")).images
    kinds = unusual_images(images, "digit", seed=0)
    if options.fashion:
        content = gzip.decompress((options.fashion / "t10k-images-idx3-ubyte.gz").read_bytes())
        kinds["Fashion-MNIST"] = torch.from_numpy(idx.decode_array(content, "test images").copy())[
            :, None
        ]
    digits = scores(loaded, images)
    print("| images | score | ROC AUC | accepted at 95 % | accepted at 99 % |")
    print("|---|---|--:|--:|--:|")
    for kind, others in kinds.items():
        compare(digits, scores(loaded, others), kind)
    print(read_other_hands(loaded))


if __name__ == "__main__":
    main()
