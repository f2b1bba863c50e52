"""Stage `evaluate`: evaluate the model on the test set, and register it."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_cnn import console, files, params
from mnist_cnn.datasets import arrays, description
from mnist_cnn.datasets.description import Description
from mnist_cnn.errors import UserError
from mnist_cnn.evaluation import model_card, paired_test, report
from mnist_cnn.evaluation.paired_test import Validated
from mnist_cnn.evaluation.parts import Part
from mnist_cnn.evaluation.predicted import predict
from mnist_cnn.learning import arithmetic, compute, data, model
from mnist_cnn.learning.calibration import Calibrated
from mnist_cnn.learning.model import Model
from mnist_cnn.params import Params
from mnist_cnn.reproduce import jobs, provenance
from mnist_cnn.tracking import notes, registry
from mnist_cnn.tracking.resume import resume_run_by_output
from mnist_cnn.tracking.run import metric_name

REPORTS = Path("reports/evaluate")
CARD = Path("reports/model_card.md")
MODEL = Path("models/best_model.pth")
TRAINING_METRICS = Path("reports/train/metrics.json")
BEST_PARAMS = Path("reports/tune/best_params.json")
TUNING_METRICS = Path("reports/tune/metrics.json")
PREDICTIONS = Path("reports/tune/validation_predictions.csv")


def main() -> None:
    """Evaluate, write the report and the model card, and continue the run of the training."""
    console.parse_args(argparse.ArgumentParser(description=__doc__))
    settings = params.load()
    arithmetic.restart_with(settings.compute.arithmetic)
    evaluate, dataset = settings.evaluate, settings.download.dataset
    compute.configure(evaluate.threads, settings.compute.arithmetic)
    device = compute.device(settings.compute.device)
    described, folder = description.load(dataset), arrays.folder(dataset)
    origin = provenance.of_stage("evaluate", device)
    training_metrics = json.loads(TRAINING_METRICS.read_text())
    validated = paired_test.read(PREDICTIONS)
    loaded = model.load(MODEL)
    if loaded.dataset.name != dataset:
        raise UserError(
            f"{MODEL}: trained on {loaded.dataset.name}; `dvc repro` trains on {dataset}"
        )
    whole = data.load("test", folder)
    (examples,) = data.subset(whole, (evaluate.test_size,), seed=0)
    complete = len(examples.labels) == len(whole.labels)
    predicted = predict(loaded, examples, described, evaluate, device, complete=complete)
    parts = report.compute(predicted, evaluate)
    summary = report.summary(parts)
    report.write(parts, REPORTS)
    _write_card(settings, described, loaded, validated, training_metrics, parts, complete=complete)
    level = f"{100 * evaluate.confidence:.6g}%"
    console.write(
        f"test accuracy {summary['accuracy']:.2%} ({level} interval "
        f"{summary['accuracy_low']:.2%} to {summary['accuracy_high']:.2%}), "
        f"{summary['mistakes']} mistakes"
    )

    note = notes.evaluation(
        training_metrics, summary, dataset=described.title, confidence=evaluate.confidence
    )
    with resume_run_by_output(MODEL, "train") as run:
        run.log_provenance("evaluate", origin.document(), origin.patch)
        validation = {metric_name("validation_accuracy"): validated.accuracy}
        run.log_metrics(validation | {"parameters": training_metrics["parameters"]})
        run.log_metrics(summary, prefix="test_")
        run.log_dataset(dataset, "test", examples, folder / "test")
        run.log_folder(REPORTS)
        run.log_outputs(CARD)
        run.log_text(CARD.name, model_card.body(CARD.read_text()))
        run.set_note(note)
        candidate = registry.Candidate(
            dataset=described,
            model=Calibrated(loaded.network.cpu(), loaded.calibration).eval(),
            path=MODEL,
            example=examples.images[:2],
            predictions=PREDICTIONS,
            result=registry.Result(
                accuracy=summary["accuracy"],
                mistakes=int(summary["mistakes"]),
                examples=len(examples.labels),
            ),
            facts={
                "parameters": training_metrics["parameters"],
                "epochs": training_metrics["epochs"],
                "seed": settings.train.seed,
                "train_size": training_metrics["train_examples"],
            },
            note=note,
        )
        registered = registry.register(run, candidate, evaluate.confidence)
    jobs.delete_recorded()  # DVC has recorded the training by now
    console.write(f"registered: {registered}")


def _write_card(
    settings: Params,
    described: Description,
    loaded: Model,
    validated: Validated,
    training_metrics: dict[str, Any],
    parts: Sequence[Part],
    *,
    complete: bool,
) -> None:
    """Write the model card."""
    folder = arrays.folder(settings.download.dataset)
    made_from = (
        *(folder / "train", folder / "test", MODEL),
        *(TRAINING_METRICS, BEST_PARAMS, TUNING_METRICS, PREDICTIONS),
    )
    facts = model_card.Facts(
        dataset=described,
        architecture=loaded.network.describe(),
        temperature=loaded.calibration.temperature if loaded.calibration else 1.0,
        hyperparameters=json.loads(BEST_PARAMS.read_text()),
        tuned=settings.tune.search_space.keys(),
        best_trial=json.loads(TUNING_METRICS.read_text())["best_trial"],
        training=training_metrics,
        validated=validated,
        summary=report.summary(parts),
        confidence=settings.evaluate.confidence,
        evaluation=parts,
        complete=complete,
        inputs={str(path): provenance.md5_path(path) for path in made_from},
    )
    files.write_text(CARD, model_card.render(facts))


if __name__ == "__main__":
    console.run(main)
