"""The model card: Markdown with a YAML header, as on Hugging Face (Mitchell et al. 2019).

A pure function of its input. It has no times and no commit, so the card changes only when the model
does.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from mnist_cnn.datasets.description import Description
from mnist_cnn.evaluation.markdown import interval, table
from mnist_cnn.evaluation.paired_test import Validated
from mnist_cnn.evaluation.parts import Part


@dataclass(frozen=True)
class Facts:
    """What the card reports."""

    dataset: Description
    architecture: str
    """Sentences about the network."""
    hyperparameters: Mapping[str, Any]
    tuned: Collection[str]
    """The names of those that the search chose; the others are fixed."""
    best_trial: int
    """The number of the trial that had them."""
    temperature: float
    """Of the calibration."""
    training: Mapping[str, float]
    """`parameters`, `train_examples`, `epochs` and `train_accuracy`."""
    validated: Validated
    """The validation predictions of networks with these hyperparameters."""
    summary: Mapping[str, float]
    """From `report.summary`."""
    confidence: float
    """The confidence level of the intervals, in (0, 1)."""
    evaluation: Sequence[Part]
    """Values and text of the section Evaluation."""
    complete: bool
    """Whether the whole test set was used."""
    inputs: Mapping[str, str]
    """The MD5 of the model file and of the files that it was made from, by path."""


def render(facts: Facts) -> str:
    """The card as Markdown."""
    summary, training = facts.summary, facts.training
    dataset, form = facts.dataset, facts.dataset.form
    ends = interval(summary["accuracy_low"], summary["accuracy_high"])
    level = f"{100 * facts.confidence:.6g}%"
    colour, scale = {
        1: ("grey", "0 black to 255 white"),
        3: ("colour", "red, green and blue from 0 to 255"),
    }[form.channels]
    shape = f"(n, {form.channels}, {form.height}, {form.width})"
    architecture = fill(
        f"- **Architecture**: {training['parameters']:,} parameters. {facts.architecture}",
        width=100,
        subsequent_indent="  ",
        break_on_hyphens=False,
    )
    examples, validated = training["train_examples"], facts.validated
    size, seeds = len(validated.examples), validated.seeds
    accuracy = f"{validated.accuracy:.2%}" + ("" if seeds == 1 else f" (mean of {seeds} seeds)")
    epochs = "1 epoch" if training["epochs"] == 1 else f"{training['epochs']} epochs"
    hyperparameters = table(
        ("hyperparameter", "value", ""),
        (
            (name, value, "tuned" if name in facts.tuned else "fixed")
            for name, value in facts.hyperparameters.items()
        ),
    )
    values = {name: value for part in facts.evaluation for name, value in part.card.items()}
    evaluation = "\n\n".join(
        [table(("metric", "value"), values.items())]
        + [part.text for part in facts.evaluation if part.text]
    )
    tested = "\n".join(
        [
            f"Evaluated on {summary['examples']:,} images of the test set of {dataset.title}.",
            *filter(None, [dataset.test_set]),
            f"Intervals are Wilson's, at the {level} level.",
        ]
    )
    origin = f"\n{dataset.origin}\n" if dataset.origin else ""
    citation = f"\n## Citation\n\n{dataset.citation}\n" if dataset.citation else ""
    inputs = table(("file", "MD5"), facts.inputs.items())
    return f"""\
---
{_header(facts)}

---

# {dataset.model}

A network that classifies the {dataset.subject} in an image. Its accuracy is
**{summary["accuracy"]:.2%}** on {summary["examples"]:,} test images ({level} interval {ends}).

## Model details

- **Input**: {colour} images of {form.height} × {form.width} pixels, `uint8 {shape}`, {scale}. The
  model normalises them itself.
- **Output**: {form.classes} logits for each image, one for each class:
  {", ".join(dataset.classes)}.
  Divided by the temperature {facts.temperature:.4f}, their softmax is the confidence. The
  registered model returns these probabilities, and the familiarity as one more column.
{architecture}
- **File**: `models/best_model.pth` has the network's name, configuration and weights, and the form
  and classes of the data set, for `torch.load(weights_only=True)`.
- **Licence**: MIT. The data set has {dataset.licence}.

## Intended use

{dataset.intended_use}

## How to use it

```console
python src/predict.py IMAGE…
```

```python
from pathlib import Path
from mnist_cnn.learning import calibration, model

network, dataset, fitted = model.load(Path("models/best_model.pth"))
# `images` is a tensor uint8 {shape}; the results are float64 (n, {form.classes}) and (n,).
probabilities, familiarity = calibration.predict(network, fitted, images)
```

Reject an image whose familiarity is negative: it is unlike the training images.

## Training

Trained on {examples:,} images of the training set of {dataset.title} for {epochs}, with the
hyperparameters of trial {facts.best_trial} of the search (`reports/tune/`). The tuned ones were
chosen on {size:,} validation images, taken from the training set, never on the test set. With them,
a network that was trained without the validation images classifies {accuracy} of these correctly;
as these also chose the hyperparameters, this is slightly optimistic.

{hyperparameters}

Training accuracy in the last epoch, on augmented images: {training["train_accuracy"]:.2%}.

## Evaluation

{tested}

{evaluation}

## Limits

Rely on the confidence only for images like those of {dataset.title}: for others see the tables of
rejected images and of corruptions.
{origin}
## Lineage

{inputs}

The model's run in MLflow has the git commit, the versions of all packages and the hardware. With
that run in the store, `python src/reproduce.py models/best_model.pth` reproduces the model and
compares it byte for byte.
{citation}"""


def body(card: str) -> str:
    """A card without its header, which a page that does not know it would show as text."""
    return card.partition("\n---\n")[2].lstrip()


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
        "tags": [dataset.title.lower(), "cnn", "optuna", "mlflow", "dvc"],
        **({"datasets": [dataset.hugging_face_id]} if dataset.hugging_face_id else {}),
        "metrics": ["accuracy", "f1"],
    }
    # On part of the test set, metrics cannot be compared with those of other models.
    if facts.complete:
        result = {
            "task": {"type": "image-classification"},
            "dataset": {
                "name": dataset.title,
                "type": dataset.hugging_face_id or dataset.name,
                "split": "test",
            },
            "metrics": results,
        }
        header["model-index"] = [{"name": dataset.model, "results": [result]}]
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in header.items())
