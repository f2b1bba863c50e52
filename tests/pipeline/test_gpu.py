"""On a GPU: the same bytes twice, for any number of workers, and after an interruption."""

import json

from mnist_cnn.learning import compute, data, training
from mnist_cnn.learning.hyperparameters import parse

import pytest
import torch
from clone import make_clone, name_of, same_results
from described import FORM

GPU = torch.cuda.is_available()
HYPERPARAMETERS = parse(
    {
        "conv1_out_channels": 8,
        "conv2_out_channels": 16,
        "batch_norm": True,
        "dropout": 0.1,
        "optimizer": "adamw",
        "learning_rate": 0.01,
        "rotation": 10.0,
    },
    "deep_cnn",
)


def needs_gpu(test):
    """Mark a test that runs on a GPU only."""
    return pytest.mark.gpu(pytest.mark.skipif(not GPU, reason="PyTorch finds no GPU")(test))


@pytest.mark.skipif(GPU, reason="there is a GPU")
def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused(searching):
    assert compute.device("auto") == compute.device("cpu") == torch.device("cpu")
    searching.set_params({"compute": {"device": "cuda"}})
    done = searching.run("python", "src/tune.py", check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "error: compute.device: cuda, but PyTorch finds no GPU; set it to cpu\n",
    )


def trained(examples, precision, epochs=3, checkpoint=None):
    """The epochs and the weights of a training of three epochs, of which some are run."""
    network = training.build(HYPERPARAMETERS, FORM, 0).to("cuda")
    fitted = training.fit(
        network,
        HYPERPARAMETERS,
        examples,
        epochs=3,
        seed=0,
        precision=precision,
        checkpoint=checkpoint,
    )
    history = [next(fitted) for _ in range(epochs)]
    weights = [value.cpu().numpy().tobytes() for value in network.state_dict().values()]
    return history, weights


@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_gives_the_same_bytes_twice_and_when_resumed(precision, real_train, tmp_path):
    compute.configure(1)
    examples = data.subset(real_train, (2_000,), 0)[0].to(torch.device("cuda"))
    expected = trained(examples, precision)
    assert trained(examples, precision) == expected

    trained(examples, precision, epochs=1, checkpoint=tmp_path / "checkpoint.pt")
    assert trained(examples, precision, checkpoint=tmp_path / "checkpoint.pt") == expected


@needs_gpu
def test_the_precision_changes_the_result(real_train):
    compute.configure(1)
    examples = data.subset(real_train, (2_000,), 0)[0].to(torch.device("cuda"))
    assert trained(examples, "float32") != trained(examples, "bfloat16")


@needs_gpu
def test_the_pipeline_gives_the_same_results_for_any_number_of_workers(tmp_path):
    clones = []
    for workers in ("1", "3"):
        made = make_clone(tmp_path / workers)
        made.set_params({"compute": {"device": "cuda", "precision": "bfloat16"}})
        made.run("git", "commit", "--quiet", "--all", "--message", "on a GPU")
        made.run("dvc", "repro", TUNE_WORKERS=workers)
        clones.append(made)
    same_results(*clones)

    first = clones[0]
    for file in first.folder.glob("mlruns/*/artifacts/provenance/*.json"):
        recorded = json.loads(file.read_text())
        assert recorded["device"] == "cuda"
        assert recorded["kernels"]["GPU"] == torch.cuda.get_device_name()
    (run,) = [run for run in first.runs() if name_of(run) == "train"]
    first.run("python", "src/reproduce.py", run.info.run_id)


@needs_gpu
def test_a_gpu_that_is_not_used_changes_nothing(clone, tmp_path):
    hidden = make_clone(tmp_path)
    hidden.run("dvc", "repro", CUDA_VISIBLE_DEVICES="")
    same_results(hidden, clone)
