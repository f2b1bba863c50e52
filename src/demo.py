"""Draw a digit with the mouse, and watch the network classify it."""

import argparse
import os
import tempfile
from importlib.util import find_spec

from mnist_cnn import console
from mnist_cnn.errors import UserError
from mnist_cnn.inference import predictor
from mnist_cnn.learning import compute

THREADS = 1  # enough for one image at a time


def main() -> None:
    """Serve the page on loopback until Ctrl-C."""
    options = _options()
    if find_spec("gradio") is None:
        raise UserError("Gradio is missing: pip install '.[demo]'")
    compute.configure(THREADS)
    loaded = predictor.load(options.model)
    # Gradio requests its own page, which a proxy cannot reach.
    os.environ["no_proxy"] = "*"
    with tempfile.TemporaryDirectory() as folder:
        # By default, drawings pass through a folder that all users of the machine share.
        os.environ["GRADIO_TEMP_DIR"] = folder
        # Gradio is optional.
        from mnist_cnn.inference import demo_page  # noqa: PLC0415

        demo_page.serve(loaded, options.port)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    predictor.add_model_option(parser)
    parser.add_argument(
        "--port",
        type=int,
        default=0,
        help="of 127.0.0.1 (default: the first free one from 7860)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    console.run(main)
