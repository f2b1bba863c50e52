"""The address that pages and servers listen on: this machine only."""

import socket

from mnist_cnn.errors import UserError

HOST = "127.0.0.1"


def check_port(port: int) -> None:
    """Raise `UserError` unless a server can listen on this port."""
    # Port 0 would listen on a port that nobody knows.
    try:
        if port == 0:
            raise OverflowError
        socket.create_server((HOST, port)).close()
    except (OSError, OverflowError):
        raise UserError(f"port {port}: in use or not available") from None
