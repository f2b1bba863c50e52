"""Browse the studies in optuna-dashboard, on loopback, also while a search runs."""

import argparse
import logging
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from mnist_cnn import console, loopback, stores
from mnist_cnn.errors import UserError

from werkzeug.serving import make_server

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def main() -> None:
    """Serve the dashboard until Ctrl-C."""
    options = _options()
    if find_spec("optuna_dashboard") is None:
        raise UserError("optuna-dashboard is missing: pip install '.[dashboard]'")
    stores.require(stores.study_storage())
    loopback.check(options.port)
    from optuna_dashboard import wsgi  # noqa: PLC0415  # it is not everywhere

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    application = _for_own_pages(wsgi(stores.study_storage()), options.port)
    server = make_server(loopback.HOST, options.port, application, threaded=True)
    console.say(f"Browse http://{loopback.HOST}:{options.port}; Ctrl-C ends it.")
    server.serve_forever()


def _for_own_pages(application: Application, port: int) -> Application:
    """The application for who asks for it by its own name, and from its own pages.

    It deletes studies when it is asked to, and would do so for the page of any other site, which a
    browser here may show and to whose name an address of this machine may be given.
    """
    own = {f"{name}:{port}" for name in (loopback.HOST, "localhost")}

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN")
        if environ.get("HTTP_HOST") in own and (not origin or urlsplit(origin).netloc in own):
            return application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"not asked for by its own name, or by the page of another\n"]

    return answer


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--port", type=int, default=8080, help=f"of {loopback.HOST} (default: %(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    console.run(main)
