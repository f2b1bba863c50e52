"""What `make serve` answers over HTTP, and to whom."""

import json
import os
import re
import runpy
import shutil
import signal
import socket
import sys

from mnist_cnn.errors import UserError
from mnist_cnn.learning import data, model
from mnist_cnn.learning.calibration import Calibrated

import psutil
import pytest
import requests
import torch
import yaml
from clone import PARAMS, ROOT, empty_store
from described import mnist
from server import MAKE, free_port, listens, serve

JSON = "application/json"


@pytest.fixture(scope="module")
def server(clone):
    """The address of a server with the champion of the clone."""
    port = free_port()
    with serve(clone.folder, [*MAKE, "serve", f"PORT={port}"], port) as address:
        yield address
        # Ctrl-C ends it with all that it started.
        (make,) = [p for p in psutil.Process().children() if f"PORT={port}" in p.cmdline()]
        processes = [make, *make.children(recursive=True)]
        os.killpg(make.pid, signal.SIGINT)
        _, alive = psutil.wait_procs(processes, timeout=120)
        assert not alive
        log = (clone.folder / "server.log").read_text()
        assert re.search(r"mnist-cnn version \d+ \(\d+\.\d\d% on 500 test images\) on http", log)


@pytest.fixture(scope="module")
def images():
    """A hundred test images, `uint8 (100, 1, 28, 28)`."""
    return data.load("test", mnist()).images[:100]


def post(server, body, kind=JSON):
    headers = {"Content-Type": kind}
    return requests.post(f"{server}/invocations", body, headers=headers, timeout=60)


def outputs(server, images):
    response = post(server, json.dumps({"inputs": images.tolist()}))
    assert response.status_code == 200, response.text
    return torch.tensor(response.json()["predictions"], dtype=torch.float64)


def test_the_server_computes_what_the_model_file_does(server, clone, images):
    served = outputs(server, images)
    with torch.inference_mode():
        network, _, fitted = model.load(clone.folder / "models/best_model.pth")
        expected = Calibrated(network, fitted).eval()(images)

    # Within what another order of summation changes: the server has other threads.
    float32 = {"rtol": 1.3e-6, "atol": 1e-5}  # the network's
    torch.testing.assert_close(served, expected, **float32)
    torch.testing.assert_close(outputs(server, images[:1]), served[:1], **float32)
    torch.testing.assert_close(served[:, :-1].sum(1), torch.ones(100).double())


def inputs(*shape, value=0):
    return json.dumps({"inputs": torch.full(shape, value).tolist()})


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        pytest.param(inputs(1, 3, 28, 28), JSON, "(1, 3, 28, 28)", id="in colour"),
        pytest.param(inputs(1, 1, 28, 28, value=256), JSON, "256 out of bounds", id="too bright"),
        pytest.param('{"inputs": [[[[0, 0', JSON, "valid JSON", id="cut short"),
        pytest.param(b"\xff\xd8\xff\xe0", JSON, "valid JSON", id="a JPEG"),
        pytest.param(inputs(1, 1, 28, 28), "text/plain", "content types", id="another type"),
    ],
)
def test_an_invalid_request_is_rejected_with_a_reason(server, body, kind, reason):
    response = post(server, body, kind)

    assert 400 <= response.status_code < 500
    assert reason in response.text


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the address 127.0.0.2")
def test_the_server_listens_on_loopback_only(server):
    port = int(server.rpartition(":")[2])
    assert listens("127.0.0.1", port)
    assert not listens("127.0.0.2", port)  # a server on all addresses would


@pytest.fixture
def refusal(tmp_path, monkeypatch):
    """Why the script does not start in a folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    main = runpy.run_path(str(ROOT / "src/serve.py"))["main"]

    def refusal(*options):
        monkeypatch.setattr("sys.argv", ["serve.py", *options])
        with pytest.raises(UserError) as refused:
            main()
        return str(refused.value)

    return refusal


@pytest.mark.parametrize(
    ("store", "reason"),
    [(False, "mlflow.db: missing; "), (True, "fashionmnist-cnn@champion: not in the registry of ")],
)
def test_a_missing_champion_is_an_error(tmp_path, refusal, store, reason):
    fashion = {"download": PARAMS["download"] | {"dataset": "FashionMNIST"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS | fashion))
    shutil.copytree(ROOT / "datasets", tmp_path / "datasets")
    if store:
        (tmp_path / "mlflow.db").write_bytes(empty_store())

    message = refusal()
    assert reason in message
    assert "`make repro`" in message
    assert (tmp_path / "mlflow.db").exists() is store


def test_a_port_that_is_not_available_is_an_error(clone, refusal, monkeypatch):
    monkeypatch.chdir(clone.folder)
    with socket.create_server(("127.0.0.1", 0)) as other:
        for port in (other.getsockname()[1], 99999, 0):
            assert refusal("--port", str(port)) == f"port {port}: in use or not available"
