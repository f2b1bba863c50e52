"""A PostgreSQL server under test, on loopback, with Debian's programs."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from server import free_port

USER = "mlflow"


class Postgres:
    """A server with its data in a folder."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder, self.port = programs, folder, free_port()
        # PostgreSQL refuses to run as root.
        self.user = "postgres" if os.getuid() == 0 else None

    def run(self, program: str, *options: str) -> None:
        """Run one of its programs."""
        command = [str(self.programs / program), *options]
        with (self.folder / "output").open("a") as output:
            subprocess.run(
                command, user=self.user, cwd=self.folder, stdout=output, stderr=output, check=True
            )

    def control(self, action: str, *options: str) -> None:
        """Start, stop or restart the server."""
        settings = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-o", settings, *options, action)

    def create(self, database: str) -> str:
        """Create a database, and return its address."""
        self.run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, database)
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{database}"


@contextmanager
def serve_postgres() -> Iterator[Postgres]:
    """Run a server until the end of the block; skip the test if PostgreSQL is not installed."""
    # Debian has a folder for each version, and none of them on the path.
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not installed:
        pytest.skip("PostgreSQL is not installed")
    with TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        server = Postgres(installed[-1], folder)
        if server.user:
            shutil.chown(folder, server.user)
        server.run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", USER)
        server.control("start")
        try:
            yield server
        finally:
            server.control("stop", "-m", "immediate")
