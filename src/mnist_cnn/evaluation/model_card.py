"""The model card: Markdown with a YAML header, as on Hugging Face (Mitchell et al. 2019).

A pure function of its input. It has no times and no commit, so the card changes only when the model
does.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mnist_cnn.datasets.descriptions import Description

FULL_TEST_SET = 10_000


@dataclass(frozen=True)
class Facts:
    """What the card reports."""

    dataset: Description
    architecture: Mapping[str, Any]
    """The arguments of `DeepCNN`."""
    hyperparameters: Mapping[str, Any]
    training: Mapping[str, float]
    """`parameters`, `examples`, `epochs` and `train_accuracy`."""
    summary: Mapping[str, float]
    """From `metrics.summary`."""
    confidence: float
    """The confidence level of the intervals, in (0, 1)."""
    per_class: Sequence[Mapping[str, float]]
    """From `metrics.per_class`."""
    most_confused: Sequence[tuple[int, int, int]]
    """True class, predicted class and number of images, the most frequent first."""
    unusual_images: Mapping[str, tuple[float, float]]
    """For each kind, the mean confidence and the fraction above 0.99."""
    inputs: Mapping[str, str]
    """The MD5 of the model file and of the files that it was made from, by path."""


def render(facts: Facts) -> str:
    """The card as Markdown."""
    summary, training = facts.summary, facts.training
    dataset, architecture = facts.dataset, facts.architecture
    interval = _interval(summary)
    level = f"{100 * facts.confidence:.6g}%"
    conv_layers, fc_layers = (
        ", ".join(map(str, architecture[layers])) or "none"
        for layers in ("conv_layers", "fc_layers")
    )
    size = architecture["image_size"]
    normalised = "with" if architecture["batch_norm"] else "without"
    epochs = "1 epoch" if training["epochs"] == 1 else f"{training['epochs']} epochs"
    hyperparameters = _table(("hyperparameter", "value"), facts.hyperparameters.items())
    metrics = _table(("metric", "value"), _metrics(summary))
    classes = _table(
        (dataset.noun, "accuracy", "interval"), (_class(row, dataset) for row in facts.per_class)
    )
    confused = _table(
        ("true class", "predicted class", "images"),
        ((dataset.classes[true], dataset.classes[p], n) for true, p, n in facts.most_confused),
    )
    unusual = _table(
        ("images", "mean confidence", "confidence above 99%"),
        (
            (kind, f"{mean:.1%}", f"{high:.1%}")
            for kind, (mean, high) in facts.unusual_images.items()
        ),
    )
    inputs = _table(("file", "MD5"), facts.inputs.items())
    return f"""\
---
{_header(facts)}

---

# {dataset.model}

A convolutional network that classifies the {dataset.subject} in an image. Its accuracy is
**{summary["accuracy"]:.2%}** on {summary["examples"]:,} test images ({level} interval {interval}).

## Model details

- **Input**: grey images of {size} × {size} pixels, `uint8 (n, 1, {size}, {size})`, 0 black to 255
  white, with a bright {dataset.noun} on black. The model normalises them itself.
- **Output**: ten logits for each image, one for each class: {", ".join(dataset.classes)}.
  Their softmax is the confidence.
- **Architecture**: {training["parameters"]:,} parameters. 3 × 3 convolutions, each with 2 × 2
  max-pooling and {normalised} batch normalisation; output channels: {conv_layers}. Hidden linear
  layers; output features: {fc_layers}. Pixels cut off at each side: {architecture["crop"]}.
- **File**: `models/best_model.pth` has the architecture, the weights and the name of the data set,
  for `torch.load(weights_only=True)`.
- **Licence**: MIT. The data set has {dataset.licence}.

## Intended use

{dataset.intended_use}

## How to use it

```console
python src/predict.py IMAGE…
```

```python
from pathlib import Path
from mnist_cnn.learning import model

network, dataset = model.load(Path("models/best_model.pth"))
probabilities = model.predict(network, images)  # uint8 (n, 1, {size}, {size}) to float64 (n, 10)
```

## Training

Trained on {training["examples"]:,} images of the training set of {dataset.name} for {epochs}. Some
hyperparameters were tuned on a validation set taken from the training set (`reports/tune/`), never
on the test set; the others were fixed. The width of a layer counts only if the network has that
layer.

{hyperparameters}

Training accuracy in the last epoch, on augmented images: {training["train_accuracy"]:.2%}.

## Evaluation

Evaluated on {summary["examples"]:,} images of the test set of {dataset.name}. {dataset.test_set}
Intervals are Wilson's, at the {level} level.

{metrics}

{classes}

Most frequent confusions:

{confused}

## Limits

Confidence on images unlike those of {dataset.name}. Only the last kind shows {dataset.noun}s at
all. Rely on the confidence only for images like those of {dataset.name}.

{unusual}

{dataset.origin}

## Lineage

{inputs}

The model's run in MLflow has the git commit, the versions of all packages and the hardware. With
that run in the store, `python src/reproduce.py models/best_model.pth` reproduces the model and
compares it byte for byte.

## Citation

{dataset.citation}
"""


def _header(facts: Facts) -> str:
    """The header. JSON is YAML; without an empty line below it, Markdown would make it a title."""
    dataset = facts.dataset
    results = [
        {"type": name, "name": name, "value": round(facts.summary[key], 6)}
        for name, key in {"accuracy": "accuracy", "f1": "f1_macro"}.items()
    ]
    header: dict[str, Any] = {
        "license": "mit",
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": [dataset.name.lower(), "cnn", "optuna", "mlflow", "dvc"],
        "datasets": [dataset.hugging_face_id],
        "metrics": ["accuracy", "f1"],
    }
    # On part of the test set, metrics cannot be compared with those of other models.
    if facts.summary["examples"] == FULL_TEST_SET:
        result = {
            "task": {"type": "image-classification"},
            "dataset": {"name": dataset.name, "type": dataset.hugging_face_id, "split": "test"},
            "metrics": results,
        }
        header["model-index"] = [{"name": dataset.model, "results": [result]}]
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in header.items())


def _metrics(summary: Mapping[str, float]) -> Sequence[tuple[str, str]]:
    return (
        ("accuracy", f"{summary['accuracy']:.2%} ({_interval(summary)})"),
        ("mistakes", f"{summary['mistakes']}"),
        ("balanced accuracy", f"{summary['balanced_accuracy']:.2%}"),
        ("F1, macro average", f"{summary['f1_macro']:.4f}"),
        ("Cohen's kappa", f"{summary['cohen_kappa']:.4f}"),
        ("ROC AUC, one-vs-rest, macro average", f"{summary['roc_auc_macro']:.6f}"),
        ("log loss, nats", f"{summary['log_loss']:.4f}"),
        ("expected calibration error", f"{summary['calibration_error']:.4f}"),
    )


def _class(row: Mapping[str, float], dataset: Description) -> tuple[str, str, str]:
    return dataset.classes[int(row["class"])], f"{row['accuracy']:.2%}", _interval(row)


def _interval(row: Mapping[str, float]) -> str:
    return f"{row['accuracy_low']:.2%} to {row['accuracy_high']:.2%}"


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
