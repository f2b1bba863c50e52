"""The model card: what the model is, how it came to be, how good it is, and where it fails.

In the form of Hugging Face's model cards (Mitchell et al. 2019): Markdown below a YAML header that
their tools read. A pure function of what it is given, without dates or the commit, so that the card
changes when the model does and not otherwise.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mnist_cnn import notes
from mnist_cnn.datasets import DatasetInfo

TEST_SIZE = 10_000  # of the whole test set


@dataclass(frozen=True)
class Facts:
    """What the card tells."""

    dataset: DatasetInfo
    architecture: Mapping[str, Any]
    """The arguments of `DeepCNN`."""
    hyperparameters: Mapping[str, Any]
    training: Mapping[str, float]
    """`parameters`, `examples` and `epochs`, whole numbers, and `train_accuracy`."""
    summary: Mapping[str, float]
    """The figures of the test set, as `metrics.summary` names them."""
    confidence: float
    """Of the intervals, in (0, 1)."""
    per_class: Sequence[Mapping[str, float]]
    """Rows with `class`, `accuracy`, `accuracy_low` and `accuracy_high`."""
    confusions: Sequence[tuple[int, int, int]]
    """True class, predicted class and how many images, the most frequent first."""
    limits: Mapping[str, tuple[float, float]]
    """Of kinds of images that it does not know, the mean confidence, and the part above 0.99."""
    inputs: Mapping[str, str]
    """MD5 of the files that it was made from, the model's own among them, by path."""


def render(facts: Facts) -> str:
    """The card as Markdown."""
    summary, training = facts.summary, facts.training
    about = facts.dataset
    unlike = f"How sure it is of images that are not as {about.name}'s are"
    trained = f"{training['examples']:,} images of {about.name}'s training set"
    interval = _interval(summary)
    confidence = f"{100 * facts.confidence:.6g}%"
    widths, hidden = (
        ", ".join(map(str, facts.architecture[layers])) or "none"
        for layers in ("conv_layers", "fc_layers")
    )
    size = facts.architecture["image_size"]
    normalised = "with" if facts.architecture["batch_norm"] else "without"
    hyperparameters = _table(("hyperparameter", "value"), facts.hyperparameters.items())
    figures = _table(("figure", "value"), _figures(summary))
    classes = _table(
        (about.thing, "accuracy", "interval"), (_class(row, about) for row in facts.per_class)
    )
    confusions = _table(
        (about.thing, "taken for", "images"),
        ((about.classes[true], about.classes[taken], n) for true, taken, n in facts.confusions),
    )
    limits = _table(
        ("images", "confidence, mean", "surer than 99%"),
        ((kind, f"{mean:.1%}", f"{sure:.1%}") for kind, (mean, sure) in facts.limits.items()),
    )
    inputs = _table(("file", "MD5"), facts.inputs.items())
    return f"""\
---
{_header(facts)}

---

# {about.model}

A convolutional network that says which {about.shown} an image shows. It is right on
**{summary["accuracy"]:.2%}** of {summary["examples"]:,} test images ({interval} at
{confidence} confidence).

## Model details

- **Input**: grey images of {size} × {size} pixels, `uint8 (n, 1, {size}, {size})` from 0 to 255, a
  {about.thing}, bright on black. It scales them itself.
- **Output**: ten logits an image, of {", ".join(about.classes)}, in this order. Their
  softmax is the confidence.
- **Network**: {training["parameters"]:,} weights. Channels of its 3 × 3 convolutions, each with
  2 × 2 max-pooling, {normalised} batch normalisation: {widths}. Features of its hidden linear
  layers: {hidden}. Pixels of each side that it does not look at: {facts.architecture["crop"]}.
- **File**: `models/best_model.pth`: architecture, weights and the name of the data set, for
  `torch.load(weights_only=True)`.
- **Licence**: MIT. The data are under {about.licence}.

## Uses

{about.uses}

## How to use it

```console
python src/predict.py IMAGE…
```

```python
from pathlib import Path
from mnist_cnn import model

network, dataset = model.load(Path("models/best_model.pth"))
probabilities = model.predict(network, images)  # uint8 (n, 1, {size}, {size}) to float64 (n, 10)
```

## Training

On {trained} for {notes.epochs(int(training["epochs"]))}. Some
hyperparameters were searched, judged on images of the training set held out from the search, not
on the test set (`reports/tune/`); the others were fixed. A width counts where there are as many
layers.

{hyperparameters}

Accuracy on these images, as it learnt from them, in the last epoch:
{training["train_accuracy"]:.2%}.

## Evaluation

On {summary["examples"]:,} images of {about.name}'s test set. {about.tested}
Intervals are Wilson's, at {confidence}.

{figures}

{classes}

What it confuses most:

{confusions}

## Limits

{unlike}; of these, only those in black on white show
{about.thing}s. Its confidence is worth something for {about.thing}s like {about.name}'s.

{limits}

{about.origin}

## Lineage

{inputs}

The git commit, the versions of all packages and the machine stand in the MLflow run of the model.
Where that run is in the store, `python src/reproduce.py models/best_model.pth` makes it again and
compares it byte for byte.

## Citation

{about.citation}
"""


def _header(facts: Facts) -> str:
    """YAML, as which JSON passes. Without an empty line below, Markdown takes it for a title."""
    about = facts.dataset
    results = [
        {"type": name, "name": name, "value": round(facts.summary[figure], 6)}
        for name, figure in {"accuracy": "accuracy", "f1": "f1_macro"}.items()
    ]
    header: dict[str, Any] = {
        "license": "mit",
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": [about.name.lower(), "cnn", "optuna", "mlflow", "dvc"],
        "datasets": [about.hugging_face],
        "metrics": ["accuracy", "f1"],
    }
    # Else it is no figure to be compared with those of others.
    if facts.summary["examples"] == TEST_SIZE:
        result = {
            "task": {"type": "image-classification"},
            "dataset": {"name": about.name, "type": about.hugging_face, "split": "test"},
            "metrics": results,
        }
        header["model-index"] = [{"name": about.model, "results": [result]}]
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in header.items())


def _figures(summary: Mapping[str, float]) -> Sequence[tuple[str, str]]:
    return (
        ("accuracy", f"{summary['accuracy']:.2%} ({_interval(summary)})"),
        ("mistakes", f"{summary['mistakes']}"),
        ("balanced accuracy", f"{summary['balanced_accuracy']:.2%}"),
        ("F1, mean of the classes", f"{summary['f1_macro']:.4f}"),
        ("Cohen's kappa", f"{summary['cohen_kappa']:.4f}"),
        ("ROC AUC, one class against the rest", f"{summary['roc_auc_macro']:.6f}"),
        ("log loss, nats", f"{summary['log_loss']:.4f}"),
        ("expected calibration error", f"{summary['calibration_error']:.4f}"),
    )


def _class(row: Mapping[str, float], about: DatasetInfo) -> tuple[str, str, str]:
    return about.classes[int(row["class"])], f"{row['accuracy']:.2%}", _interval(row)


def _interval(figures: Mapping[str, float]) -> str:
    return f"{figures['accuracy_low']:.2%} to {figures['accuracy_high']:.2%}"


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
