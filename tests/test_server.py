"""Who is let in: by `make ui`, and by a team's server as `docs/team.md` sets it up."""

import os
import re
import subprocess
import sys

import pytest
import requests
from clone import ROOT
from mlflow import MlflowClient
from server import MAKE, free_port, listens, serve

PASSWORDS = {name: f"the password of {name}" for name in ("admin", "alice", "bob", "carol")}


def create_experiment(server, name, **request):
    """What the API says to making an experiment: the smallest change there is."""
    path = "/ajax-api/2.0/mlflow/experiments/create"
    return requests.post(server + path, json={"name": name}, timeout=10, **request)


@pytest.fixture(scope="module")
def ui(tmp_path_factory):
    """The address of what `make ui` starts."""
    with serve(tmp_path_factory.mktemp("ui"), [*MAKE, "ui"], free_port()) as address:
        yield address


def test_the_ui_answers_whoever_asks_for_it_by_its_name(ui):
    assert "<title>MLflow</title>" in requests.get(ui, timeout=10).text
    by_name = ui.replace("127.0.0.1", "localhost")
    assert create_experiment(ui, "by name", headers={"Origin": by_name}).ok
    assert create_experiment(ui, "by number", headers={"Origin": ui}).ok


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address on Linux only")
def test_the_ui_listens_on_one_address_alone(ui):
    port = int(ui.rpartition(":")[2])
    assert listens("127.0.0.1", port)
    assert not listens("127.0.0.2", port)  # answers, as does every other, to who listens on all


@pytest.mark.parametrize("path", ["/", "/api/2.0/mlflow/experiments/get?experiment_id=0"])
@pytest.mark.parametrize(
    "host", ["evil.example", "10.evil.example", "localhost.evil.example", "127.0.0.1.evil.example"]
)
def test_the_ui_refuses_a_name_that_another_pointed_at_it(ui, host, path):
    port = ui.rpartition(":")[2]
    for name in (host, f"{host}:{port}"):
        refused = requests.get(ui + path, headers={"Host": name}, timeout=10)
        assert refused.status_code == 403
        assert "Invalid Host header" in refused.text


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost.evil.example", "null"])
def test_the_ui_refuses_a_change_asked_for_by_the_page_of_another(ui, origin):
    refused = create_experiment(ui, origin, headers={"Origin": origin})
    assert refused.status_code == 403
    assert create_experiment(ui, origin).ok, "the change was made all the same"


def block(kind):
    """The first code of a kind in `docs/team.md`."""
    text = (ROOT / "docs/team.md").read_text()
    return re.search(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[1]


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    """The address of a team's server; alice and bob are of the team, carol has an account only."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "secret").write_text("secret")
    (folder / "auth.ini").write_text(block("ini"))

    port = free_port()
    script = block("sh").replace("--port 5000", f"--port {port}")
    own = f"--allowed-hosts 127.0.0.1:{port},"  # there is no proxy here
    (folder / "serve.sh").write_text(script.replace("--allowed-hosts ", own))
    first = {"MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORDS["admin"]}
    with serve(folder, ["sh", "serve.sh"], port, **first) as address:
        accounts = block("python").replace("https://mlflow.example.org", address)
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", accounts],
            env=os.environ | as_user("admin"),
            input=f"{PASSWORDS['alice']}\n{PASSWORDS['bob']}\n",
            text=True,
            start_new_session=True,  # without a terminal, passwords are read from the input
            check=True,
        )
        carol = {"username": "carol", "password": PASSWORDS["carol"]}
        users = f"{address}/api/2.0/mlflow/users/create"
        admin = ("admin", PASSWORDS["admin"])
        requests.post(users, json=carol, auth=admin, timeout=10).raise_for_status()
        yield address


def as_user(name):
    """The environment of a member."""
    return {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": PASSWORDS[name]}


@pytest.fixture(scope="module")
def logged(team):
    """What alice has put there, as the paths at which the server has it."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in as_user("alice").items():
            patch.setenv(variable, value)
        client = MlflowClient(team)
        experiment = client.create_experiment("alice's")
        info = client.create_run(experiment).info
        run = info.run_id
        client.log_text(run, "an artifact", "folder/a.txt")
        client.create_registered_model("model")
        client.create_model_version("model", f"{info.artifact_uri}/folder", run)
    stored = f"mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/folder/a.txt"
    return {
        "page": "/",
        "experiment": f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}",
        "run": f"/ajax-api/2.0/mlflow/runs/get?run_id={run}",
        "artifact": f"/get-artifact?run_id={run}&path=folder/a.txt",
        "artifact, as stored": f"/api/2.0/{stored}",
        "artifact, as stored, for pages": f"/ajax-api/2.0/{stored}",
        "artifact of a model": "/model-versions/get-artifact?name=model&version=1&path=a.txt",
        "model": "/api/2.0/mlflow/registered-models/get?name=model",
    }


@pytest.mark.parametrize(
    "credentials",
    [None, ("mallory", PASSWORDS["alice"]), ("alice", "not the password")],
)
def test_without_a_password_there_is_no_entry(team, logged, credentials):
    for path in logged.values():
        refused = requests.get(team + path, auth=credentials, timeout=10)
        assert refused.status_code == 401, path
    assert create_experiment(team, "intruder", auth=credentials).status_code == 401
    upload = team + logged["artifact, as stored"]
    assert requests.put(upload, b"intruder", auth=credentials, timeout=10).status_code == 401


def test_the_team_sees_everything(team, logged):
    for name in ("alice", "bob"):
        for what, path in logged.items():
            answer = requests.get(team + path, auth=(name, PASSWORDS[name]), timeout=10)
            assert answer.status_code == 200, path
            assert answer.text == "an artifact" or not what.startswith("artifact")


def test_the_team_logs_into_the_same_runs_and_models(team, logged, monkeypatch):
    for variable, value in as_user("bob").items():
        monkeypatch.setenv(variable, value)
    client = MlflowClient(team)
    run = logged["run"].rpartition("=")[2]
    client.log_metric(run, "accuracy", 0.5)
    client.log_text(run, "another", "folder/b.txt")
    client.set_registered_model_alias("model", "challenger", "1")
    client.delete_registered_model_alias("model", "challenger")
    client.delete_run(client.create_run(client.get_run(run).info.experiment_id).info.run_id)


def test_who_is_not_of_the_team_sees_nothing_of_it(team, logged):
    carol = ("carol", PASSWORDS["carol"])
    assert requests.get(team, auth=carol, timeout=10).ok
    for what, path in logged.items():
        if what != "page":
            answer = requests.get(team + path, auth=carol, timeout=10)
            assert answer.status_code == 403, path


def test_the_team_server_has_one_name(team):
    alice = ("alice", PASSWORDS["alice"])
    origin = {"Origin": "https://mlflow.example.org"}
    assert create_experiment(team, "own", headers=origin, auth=alice).ok
    origin = {"Origin": "https://evil.example"}
    assert create_experiment(team, "evil", headers=origin, auth=alice).status_code == 403

    for host in ("mlflow.example.org", "evil.example", "10.evil.example", "localhost"):
        answer = requests.get(team, headers={"Host": host}, auth=alice, timeout=10)
        assert answer.status_code == (200 if host == "mlflow.example.org" else 403)
