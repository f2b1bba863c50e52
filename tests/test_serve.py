"""What `make serve` answers over HTTP, to whom, and that nothing it is sent ends it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

from mnist_cnn import data, model

import psutil
import pytest
import requests
import torch
import yaml
from clone import ROOT, empty_store
from mlflow import MlflowClient
from server import MAKE, free_port, listens, serve

JSON = "application/json"
SCRIPT = [sys.executable, str(ROOT / "src/serve.py")]


def started(folder):
    """What `make serve` starts in a folder, on a port of its own."""
    port = free_port()
    return serve(folder, [*MAKE, "serve", f"PORT={port}"], port)


@pytest.fixture(scope="module")
def server(clone):
    """The address of what answers with the champion of the clone."""
    with started(clone.folder) as address:
        yield address


@pytest.fixture(scope="module")
def images():
    """A hundred test images, `uint8 (100, 1, 28, 28)`."""
    return data.load("test", ROOT / "data/MNIST/raw").images[:100]


def ask(server, body, kind=JSON):
    headers = {"Content-Type": kind}
    return requests.post(f"{server}/invocations", body, headers=headers, timeout=60)


def logits(server, images):
    answer = ask(server, json.dumps({"inputs": images.tolist()}))
    assert answer.status_code == 200, answer.text
    return torch.tensor(answer.json()["predictions"])


def test_the_champion_answers_as_its_file_does(server, clone, images):
    served = logits(server, images)
    with torch.inference_mode():
        network, _ = model.load(clone.folder / "models/best_model.pth")
        expected = network(images)

    # To what PyTorch allows `float32` for sums taken in another order, as other threads take them.
    torch.testing.assert_close(served, expected)
    assert torch.equal(served.argmax(1), expected.argmax(1))


def test_an_image_is_answered_alone_as_among_others(server, images):
    torch.testing.assert_close(logits(server, images[:1]), logits(server, images)[:1])


def inputs(*shape, value=0):
    return json.dumps({"inputs": torch.full(shape, value).tolist()})


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        pytest.param(inputs(28, 28), JSON, "(28, 28)", id="an image without its channel"),
        pytest.param(inputs(2, 1, 28, 27), JSON, "(2, 1, 28, 27)", id="a column too few"),
        pytest.param(inputs(1, 3, 28, 28), JSON, "(1, 3, 28, 28)", id="in colour"),
        pytest.param('{"inputs": [[[[0, 0], [0]]]]}', JSON, "inhomogeneous", id="ragged"),
        pytest.param(inputs(0), JSON, "schema", id="no image"),
        pytest.param(inputs(1, 1, 28, 28, value=256), JSON, "256 out of bounds", id="too bright"),
        pytest.param('{"inputs": [[[[0, 0', JSON, "valid JSON", id="cut short"),
        pytest.param("", JSON, "valid JSON", id="nothing"),
        pytest.param(b"\xff\xd8\xff\xe0", JSON, "valid JSON", id="a JPEG"),
        pytest.param('{"images": []}', JSON, "exactly one of the input fields", id="another key"),
        pytest.param(inputs(1, 1, 28, 28), "text/plain", "content types", id="not said to be JSON"),
    ],
)
def test_what_is_no_image_is_refused_with_a_reason_and_the_next_is_answered(
    server, images, body, kind, reason
):
    refused = ask(server, body, kind)

    assert 400 <= refused.status_code < 500
    assert reason in refused.text
    assert logits(server, images[:1]).shape == (1, 10)


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address on Linux only")
def test_it_listens_on_one_address_alone(server):
    port = int(server.rpartition(":")[2])
    assert listens("127.0.0.1", port)
    assert not listens("127.0.0.2", port)  # answers, as does every other, to who listens on all


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_all_that_it_started(clone, number):
    before = set(psutil.Process().children())
    with started(clone.folder) as address:
        (make,) = set(psutil.Process().children()) - before
        processes = [make, *make.children(recursive=True)]
        if number == signal.SIGINT:
            os.killpg(make.pid, number)  # as Ctrl-C does
        else:
            make.send_signal(number)
        _, alive = psutil.wait_procs(processes, timeout=30)

    assert not alive
    assert not listens("127.0.0.1", int(address.rpartition(":")[2]))


def test_a_version_that_is_no_champion_is_served_by_its_number(clone, tmp_path, images):
    shutil.copy2(clone.folder / "mlflow.db", tmp_path)
    store = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    store.delete_registered_model_alias("mnist-cnn", "champion")
    port = free_port()
    script = [*SCRIPT, "--port", str(port)]
    with serve(tmp_path, [*script, "--model", "mnist-cnn/1"], port) as address:
        served = logits(address, images[:2])

    told = f"mnist-cnn version 1, on {address}/invocations"
    assert (tmp_path / "server.log").read_text().startswith(told)
    with torch.inference_mode():
        network, _ = model.load(clone.folder / "models/best_model.pth")
        expected = network(images[:2])
    torch.testing.assert_close(served, expected)


def refusal(folder, *options):
    """What it says, in one line, before it ends."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "MAKE"))}
    done = subprocess.run(
        [*SCRIPT, *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line.removeprefix("error: ")


@pytest.mark.parametrize(
    ("store", "reason"),
    [(False, "mlflow.db: missing; "), (True, "fashionmnist-cnn@champion: not in the registry of ")],
)
def test_without_a_champion_of_the_data_set_it_says_how_to_make_one(tmp_path, store, reason):
    given = yaml.safe_load((ROOT / "params.yaml").read_text())
    given["download"]["dataset"] = "FashionMNIST"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(given))
    if store:
        (tmp_path / "mlflow.db").write_bytes(empty_store())

    said = refusal(tmp_path)
    assert reason in said
    assert "`make repro`" in said
    assert (tmp_path / "mlflow.db").exists() is store


def test_a_port_that_cannot_be_had_is_told_before_it_starts(clone):
    with socket.create_server(("127.0.0.1", 0)) as other:
        for port in (other.getsockname()[1], 99999):
            said = refusal(clone.folder, "--port", str(port))
            assert said == f"port {port}: in use, or not to be had"
    assert refusal(clone.folder, "--port", "0").startswith("port 0: ")
