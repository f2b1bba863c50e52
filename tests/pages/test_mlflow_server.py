"""Who can use MLflow's server: that of `make ui`, and a team's, as `docs/team.md` sets it up."""

import os
import re
import subprocess
import sys

import pytest
import requests
from clone import ROOT, empty_store
from mlflow import MlflowClient
from server import free_port, listens, serve

PASSWORDS = {name: f"the password of {name}" for name in ("admin", "alice", "bob", "carol")}


def create_experiment(server, name, **request):
    """The response to a request for the smallest change there is."""
    path = "/ajax-api/2.0/mlflow/experiments/create"
    return requests.post(server + path, json={"name": name}, timeout=60, **request)


@pytest.fixture(scope="module")
def ui(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("ui"), free_port()
    (folder / "mlflow.db").write_bytes(empty_store())
    MlflowClient(f"sqlite:///{folder}/mlflow.db").create_experiment("mnist-cnn")
    command = [sys.executable, str(ROOT / "src/ui.py"), "--port", str(port)]
    with serve(folder, command, port) as address:
        yield address
        log = (folder / "server.log").read_text().splitlines()
        assert log[0].startswith(f"In a few seconds, open {address}/#/experiments/1/runs?")
        assert not [line for line in log if "GET" in line or "POST" in line]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the address 127.0.0.2")
def test_the_ui_listens_on_loopback_only(ui):
    port = int(ui.rpartition(":")[2])
    assert listens("127.0.0.1", port)
    assert not listens("127.0.0.2", port)  # a server on all addresses would


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example"])
def test_the_ui_rejects_a_foreign_host(ui, host):
    assert requests.get(ui, timeout=60).ok
    port = ui.rpartition(":")[2]
    for name in (host, f"{host}:{port}"):
        assert requests.get(ui, headers={"Host": name}, timeout=60).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
def test_the_ui_rejects_a_change_from_a_foreign_page(ui, origin):
    response = create_experiment(ui, origin, headers={"Origin": origin})

    assert response.status_code == 403
    assert create_experiment(ui, origin, headers={"Origin": ui}).ok


def block(kind):
    """The first code block of a kind in `docs/team.md`."""
    text = (ROOT / "docs/team.md").read_text()
    return re.search(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[1]


def as_user(name):
    """The environment variables of a member."""
    return {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": PASSWORDS[name]}


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    """The address of a team's server: alice and bob are members, carol only has an account."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "secret").write_text("secret")
    (folder / "auth.ini").write_text(block("ini"))

    port = free_port()
    script = block("sh").replace("--port 5000", f"--port {port}")
    own = f"--allowed-hosts 127.0.0.1:{port},"  # without a proxy
    (folder / "serve.sh").write_text(script.replace("--allowed-hosts ", own))
    password = {"MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORDS["admin"]}
    with serve(folder, ["sh", "serve.sh"], port, **password) as address:
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
        requests.post(users, json=carol, auth=admin, timeout=60).raise_for_status()
        yield address


@pytest.fixture(scope="module")
def run_path(team):
    """The path of a run that alice logged."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in as_user("alice").items():
            patch.setenv(variable, value)
        client = MlflowClient(team)
        run = client.create_run(client.create_experiment("alice's")).info.run_id
        client.log_text(run, "an artifact", "a.txt")
    return f"/ajax-api/2.0/mlflow/runs/get?run_id={run}"


@pytest.mark.parametrize(
    ("credentials", "status"),
    [
        (None, 401),
        (("alice", "not the password"), 401),
        (("carol", PASSWORDS["carol"]), 403),
        (("alice", PASSWORDS["alice"]), 200),
        (("bob", PASSWORDS["bob"]), 200),
    ],
)
def test_only_members_of_the_team_see_its_runs(team, run_path, credentials, status):
    assert requests.get(team + run_path, auth=credentials, timeout=60).status_code == status


def test_the_team_server_has_one_name(team):
    alice = ("alice", PASSWORDS["alice"])
    for host, status in (("mlflow.example.org", 200), ("evil.example", 403), ("localhost", 403)):
        response = requests.get(team, headers={"Host": host}, auth=alice, timeout=60)
        assert response.status_code == status
    origin = {"Origin": "https://evil.example"}
    assert create_experiment(team, "evil", headers=origin, auth=alice).status_code == 403
