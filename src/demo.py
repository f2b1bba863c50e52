"""Draw a digit with the mouse, and see what the network sees of it and what it says."""

import argparse
import os
import tempfile
from importlib.util import find_spec

from mnist_cnn import choice, compute, console
from mnist_cnn.errors import UserError

THREADS = 1  # there is one image at a time, so the network stays on the CPU, too


def main() -> None:
    """Serve the page on loopback until Ctrl-C."""
    options = _options()
    if find_spec("gradio") is None:
        raise UserError("Gradio is missing: pip install '.[demo]'")
    compute.configure(THREADS)
    network, about = choice.load(options.model)
    # Gradio asks its own server whether it is there, which is not for a proxy to answer.
    os.environ["no_proxy"] = "*"
    with tempfile.TemporaryDirectory() as folder:
        # Else what is drawn goes through a folder that all users of the machine share.
        os.environ["GRADIO_TEMP_DIR"] = folder
        # Gradio is not everywhere, and takes seconds to import.
        from mnist_cnn import page  # noqa: PLC0415

        page.serve(network, about, options.port)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    choice.add_option(parser)
    parser.add_argument(
        "--port",
        type=int,
        default=0,
        help="of 127.0.0.1, where the page is served (default: the first free one from 7860)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    console.run(main)
