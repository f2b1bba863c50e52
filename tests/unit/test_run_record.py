"""A trial is read from a real store as the tables of its study have it."""

from mnist_cnn.learning.training import Epoch
from mnist_cnn.reproduce import run_record
from mnist_cnn.reproduce.git import Commit
from mnist_cnn.reproduce.provenance import Inputs, Provenance
from mnist_cnn.search.trial import Trial
from mnist_cnn.tracking.experiment import find_runs
from mnist_cnn.tracking.resume import resume_run

import pytest
from studies import make_tune

EPOCH = Epoch(1, 1.0, 0.1, 0.9, 0.2)


@pytest.mark.parametrize("earlier", [False, True])
def test_the_epochs_of_a_trial_have_the_names_of_the_table(store, tmp_path, earlier):
    """Earlier versions logged `train_loss` where this one logs `train/loss`."""
    made_from = Provenance(Inputs("tune", {}, {}, {}, "cpu", {}), Commit("a", True, b""), {})
    with resume_run("tune", "tune-1", {}) as run:
        run.log_provenance("tune", made_from.document(), b"")
        history = () if earlier else (EPOCH,)
        run.log_trial(Trial(0, {}, "complete", history, (1.0, 2.0, 3.0), 0.2), make_tune())
    (trial,) = find_runs("tags.stage = 'trial'")
    metrics = {name: value for name, value in EPOCH.metrics().items() if name != "epoch"}
    if earlier:
        for name, value in metrics.items():
            store.log_metric(trial.info.run_id, name, value, step=1)
        trial = store.get_run(trial.info.run_id)
    copy = tmp_path / "copy"
    copy.mkdir()
    _, record = run_record.read(trial, copy)
    assert record.epochs == [{"epoch": "1"} | {key: str(value) for key, value in metrics.items()}]
