"""Where pages and servers listen: on this machine alone."""

import socket

from mnist_cnn.errors import UserError

HOST = "127.0.0.1"


def check(port: int) -> None:
    """Raise `UserError` for a port that cannot be listened on now, before a server is started.

    For 0 the system would choose one that nobody is told of.
    """
    if port == 0:
        raise UserError("port 0: not a port that one can ask for")
    try:
        socket.create_server((HOST, port)).close()
    except (OSError, OverflowError):
        raise UserError(f"port {port}: in use, or not to be had") from None
