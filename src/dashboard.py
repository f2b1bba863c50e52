"""Browse studies in optuna-dashboard, on loopback, even while a search runs."""

import argparse
import logging
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from mnist_cnn import console, loopback, stores
from mnist_cnn.errors import UserError

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def main() -> None:
    """Serve the dashboard until Ctrl-C."""
    options = _options()
    if find_spec("optuna_dashboard") is None:
        raise UserError("optuna-dashboard is missing: pip install '.[dashboard]'")
    stores.require_existing(stores.study_storage(), "tune")
    loopback.check_port(options.port)
    # Both are optional.
    from optuna_dashboard import wsgi  # noqa: PLC0415
    from werkzeug.serving import make_server  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    application = _reject_foreign_requests(wsgi(stores.study_storage()))
    server = make_server(loopback.HOST, options.port, application, threaded=True)
    console.write(f"Browse http://{loopback.HOST}:{options.port}; Ctrl-C ends it.")
    server.serve_forever()


def _reject_foreign_requests(application: Application) -> Application:
    """Reject requests with a foreign Host or Origin header (DNS rebinding, CSRF).

    Otherwise any web page in a browser on this machine could delete studies. The port is another
    one if it is forwarded, for example through SSH.
    """

    def respond(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        host, origin = environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN")
        own = urlsplit(f"//{host}").hostname in {loopback.HOST, "localhost"}
        if own and (not origin or origin == f"http://{host}"):
            return application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"request for another host or from the page of another site\n"]

    return respond


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--port", type=int, default=8080, help=f"of {loopback.HOST} (default: %(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    console.run(main)
