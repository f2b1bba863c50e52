"""The model card: what the model is, how it came to be, how good it is, and where it fails.

In the form of Hugging Face's model cards (Mitchell et al. 2019): Markdown below a YAML header that
their tools read. A pure function of what it is given, without dates or the commit, so that the card
changes when the model does and not otherwise.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Facts:
    """What the card tells."""

    architecture: Mapping[str, Any]
    """The arguments of `DeepCNN`."""
    hyperparameters: Mapping[str, Any]
    training: Mapping[str, float]
    """`parameters`, `examples` and `epochs`, whole numbers, and `train_accuracy`."""
    summary: Mapping[str, float]
    """The figures of the test set, as `metrics.summary` names them."""
    confidence: float
    """Of the intervals, in (0, 1)."""
    tested: int
    """Images of the test set."""
    per_class: Sequence[Mapping[str, float]]
    """Rows with `class`, `accuracy`, `accuracy_low` and `accuracy_high`."""
    confusions: Sequence[tuple[int, int, int]]
    """True class, predicted class and how many images, the most frequent first."""
    limits: Mapping[str, tuple[float, float]]
    """Of kinds of images that are no digits, the mean confidence, and the part above 0.99."""
    inputs: Mapping[str, str]
    """MD5 of the files that it was made from, the model's own among them, by path."""
    versions: Mapping[str, str]
    """Of the libraries that can change a number."""


def render(facts: Facts) -> str:
    """The card as Markdown."""
    summary, training = facts.summary, facts.training
    interval = f"{summary['accuracy_low']:.2%} to {summary['accuracy_high']:.2%}"
    widths, hidden = (
        ", ".join(map(str, facts.architecture[layers])) or "none"
        for layers in ("conv_layers", "fc_layers")
    )
    size = facts.architecture["image_size"]
    normalised = "with" if facts.architecture["batch_norm"] else "without"
    hyperparameters = _table(("hyperparameter", "value"), facts.hyperparameters.items())
    figures = _table(("figure", "value"), _figures(summary, interval))
    digits = _table(("digit", "accuracy", "interval"), map(_digit, facts.per_class))
    confusions = _table(("digit", "taken for", "images"), facts.confusions)
    limits = _table(
        ("images", "mean confidence", "surer than 99 %"),
        ((kind, f"{mean:.1%}", f"{sure:.1%}") for kind, (mean, sure) in facts.limits.items()),
    )
    inputs = _table(("file", "MD5"), facts.inputs.items())
    versions = _table(("library", "version"), facts.versions.items())
    return f"""\
---
{_header(facts)}
---

# mnist-cnn

A small convolutional network that says which handwritten digit an image shows. It is right on
**{summary["accuracy"]:.2%}** of {facts.tested:,} test images ({interval} at
{facts.confidence:.0%} confidence).

## Model details

- **Input**: grey images of {size} × {size} pixels, `uint8 (n, 1, {size}, {size})` from 0 to 255, a
  white digit on black. It scales them itself.
- **Output**: ten logits an image, of the digits 0 to 9. Their softmax is the confidence.
- **Network**: 3 × 3 convolutions to {widths} channels, each with 2 × 2 max-pooling, {normalised}
  batch normalisation; hidden linear layers: {hidden}; {training["parameters"]:,} weights.
  Of each side of the image {facts.architecture["crop"]} pixels are not looked at.
- **File**: `models/best_model.pth`, architecture and weights, for `torch.load(weights_only=True)`.
- **Licence**: MIT. The data are under CC BY-SA 3.0.

## Uses

For single handwritten digits, and for learning how a model is searched, trained and tracked. Not
for forms, cheques or addresses, unless somebody reads what it is not sure of: it knows nothing but
digits, and answers with one whatever it is shown.

## How to use it

```console
python src/predict.py IMAGE…
```

```python
from pathlib import Path
from mnist_cnn import model

network = model.load(Path("models/best_model.pth"))
probabilities = model.predict(network, images)  # uint8 (n, 1, {size}, {size}) to float64 (n, 10)
```

## Training

On {training["examples"]:,} images of MNIST's training set for {training["epochs"]} epochs. The
hyperparameters are the best of a search that was judged on images of the training set held out from
it, never on the test set (`reports/tune/`):

{hyperparameters}

Accuracy on these images, augmented, in the last epoch: {training["train_accuracy"]:.2%}.

## Evaluation

Once, on {facts.tested:,} images of MNIST's test set, whose writers wrote nothing in the
training set. Intervals are Wilson's, at {facts.confidence:.0%}.

{figures}

{digits}

What it confuses most:

{confusions}

## Limits

What it says of images that are no digits of MNIST: how sure it is on average, and of which part it
is surer than 99 %. Its confidence is worth something for digits like MNIST's only.

{limits}

MNIST was written by employees of the United States' Census Bureau and by high-school students,
before 1995: other hands, such as Europe's crossed seven, are rare in it.

## Lineage

{inputs}

{versions}

The git commit stands in the MLflow run of the model, which the following makes again and compares
byte for byte: `python src/reproduce.py models/best_model.pth`

## Citation

Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document
recognition", Proceedings of the IEEE 86 (11), 1998.
"""


def _header(facts: Facts) -> str:
    """YAML, of which JSON is a part."""
    results = [
        {"type": name, "name": name.replace("_", " "), "value": round(facts.summary[figure], 6)}
        for name, figure in {"accuracy": "accuracy", "f1": "f1_macro"}.items()
    ]
    header = {
        "license": "mit",
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["mnist", "cnn", "optuna", "mlflow", "dvc"],
        "datasets": ["ylecun/mnist"],
        "metrics": ["accuracy", "f1"],
        "model-index": [
            {
                "name": "mnist-cnn",
                "results": [
                    {
                        "task": {"type": "image-classification"},
                        "dataset": {"name": "MNIST", "type": "ylecun/mnist", "split": "test"},
                        "metrics": results,
                    }
                ],
            }
        ],
    }
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in header.items())


def _figures(summary: Mapping[str, float], interval: str) -> Sequence[tuple[str, str]]:
    return (
        ("accuracy", f"{summary['accuracy']:.2%} ({interval})"),
        ("mistakes", f"{summary['mistakes']}"),
        ("balanced accuracy", f"{summary['balanced_accuracy']:.2%}"),
        ("F1, mean of the classes", f"{summary['f1_macro']:.4f}"),
        ("Cohen's kappa", f"{summary['cohen_kappa']:.4f}"),
        ("ROC AUC, one class against the rest", f"{summary['roc_auc_macro']:.6f}"),
        ("log loss, nats", f"{summary['log_loss']:.4f}"),
        ("expected calibration error", f"{summary['calibration_error']:.4f}"),
    )


def _digit(row: Mapping[str, float]) -> tuple[str, str, str]:
    interval = f"{row['accuracy_low']:.2%} to {row['accuracy_high']:.2%}"
    return f"{row['class']}", f"{row['accuracy']:.2%}", interval


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
