"""Ray nodes under test: processes of `ray start`, each in a network namespace of its own."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

RAY = Path(sys.executable).with_name("ray")
SUPPORT = Path(__file__).parent


class Network:
    """Namespaces that are connected by a switch, which is in one of its own."""

    def __init__(self) -> None:
        self.name = f"ray{secrets.token_hex(3)}"
        self.hosts: list[str] = []
        self._ip("netns", "add", self.name)
        self._ip("-n", self.name, "link", "add", "switch", "type", "bridge")
        self._ip("-n", self.name, "link", "set", "switch", "up")

    def add_host(self) -> tuple[str, str]:
        """Add a namespace; return its name and its address."""
        number = len(self.hosts) + 1
        host, address = f"{self.name}-{number}", f"10.99.0.{number}"
        self.hosts.append(host)
        self._ip("netns", "add", host)
        port = f"port{number}"
        peer = ("peer", "name", "eth0", "netns", host)
        self._ip("-n", self.name, "link", "add", port, "type", "veth", *peer)
        self._ip("-n", self.name, "link", "set", port, "master", "switch", "up")
        self._ip("-n", host, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            self._ip("-n", host, "link", "set", device, "up")
        return host, address

    def kill(self, host: str) -> None:
        """Kill every process in a namespace."""
        listed = subprocess.run(["ip", "netns", "pids", host], capture_output=True, check=True)
        for pid in listed.stdout.split():
            os.kill(int(pid), signal.SIGKILL)

    def remove(self) -> None:
        """Kill every process, and delete the namespaces."""
        for host in self.hosts:
            self.kill(host)
            self._ip("netns", "delete", host)
        self._ip("netns", "delete", self.name)

    def _ip(self, *arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True)


class RayCluster:
    """A head without cores, and nodes with one core each. Programs under test run at the head."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self.folder = network, folder
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("RAY_")
        } | {
            "PYTHONPATH": str(SUPPORT),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self.head, address = network.add_host()
        self.address = f"{address}:6379"
        options = ("--head", "--port=6379", "--include-dashboard=false", f"--temp-dir={folder}")
        self._start(self.head, address, 0, *options)
        self.environment["RAY_ADDRESS"] = self.address

    def add_node(self, cpuinfo: Path | None = None, **variables: str) -> str:
        """Start a node; return its name.

        Args:
            cpuinfo: a file that the node finds in place of Linux's.
            variables: additional environment variables.
        """
        host, address = self.network.add_host()
        # `ip netns exec` gives each command mounts of its own.
        mount = f"mount --bind {cpuinfo} /proc/cpuinfo && " if cpuinfo else ""
        shell = ["sh", "-c", f'{mount}exec "$0" "$@"']
        self._start(host, address, 1, f"--address={self.address}", shell=shell, **variables)
        return host

    def start(self, *command: str, **options) -> subprocess.Popen:
        """Start a program at the head, with `RAY_ADDRESS` in its environment."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.head, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **{"env": self.environment} | options,
        )

    def _start(self, host, address, cores, *options, shell=(), **variables) -> None:
        command = ["ip", "netns", "exec", host, *shell, str(RAY), "start", *options]
        settings = [f"--node-ip-address={address}", f"--num-cpus={cores}"]
        memory = ["--object-store-memory=100000000"]
        done = subprocess.run(
            [*command, *settings, *memory],
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """A cluster without nodes; the test is skipped where no network namespace can be made."""
    if os.getuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and iproute2")
    try:
        network = Network()
    except subprocess.CalledProcessError:
        pytest.skip("no network namespace can be made here")
    # The path of a socket has at most 107 characters.
    with TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        try:
            yield RayCluster(network, Path(folder))
        finally:
            network.remove()


def wait_until(condition, seconds: float = 300) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
