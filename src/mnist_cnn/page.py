"""The page of the demo: a canvas, what the network sees of it, and what it says."""

from functools import partial
from typing import Any

from mnist_cnn import console, images, loopback, model
from mnist_cnn.datasets import DatasetInfo
from mnist_cnn.errors import UserError

import gradio as gr
import numpy as np
import torch
from numpy.typing import NDArray

SIDE = 400  # of the canvas, in pixels
BRUSH = 14  # its radius, with which digits from half the height of the canvas up are told well

# On a canvas that has a background one can draw at once; on another, after choosing the brush.
PAPER = np.full((SIDE, SIDE), 255, np.uint8)

CSS = """
#seen img { object-fit: contain; image-rendering: pixelated; }
#canvas [aria-label="Color"] { display: none; }  /* there is only black */
"""


def serve(network: model.DeepCNN, about: DatasetInfo, port: int) -> None:
    """Serve the page on a port of loopback, with 0 on the first free one from 7860, until Ctrl-C.

    Raises `UserError` for a port that cannot be had, and where there is none free.
    """
    if port:
        loopback.check(port)
    page = _build(network, about)
    try:
        _, address, _ = page.launch(
            server_name=loopback.HOST,
            server_port=port or None,
            share=False,
            run_history=False,
            footer_links=[],
            theme=gr.themes.Base(font=["system-ui", "sans-serif"]),  # not from the internet
            css=CSS,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise UserError(f"the page cannot be served: {' '.join(str(error).split())}") from None
    console.say(f"Draw on {address}; Ctrl-C ends it.")
    page.block_thread()


def _build(network: model.DeepCNN, about: DatasetInfo) -> gr.Blocks:
    task = f"draw a {about.thing}"
    weights = sum(weight.numel() for weight in network.parameters())
    # What is drawn passes through files, which go after ten minutes.
    page = gr.Blocks(title=task.capitalize(), analytics_enabled=False, delete_cache=(600, 600))
    with page:
        gr.Markdown(
            f"# {task.capitalize()}\n"
            f"A network of {weights:,} weights, which has learnt from {about.name}, "
            "says after each stroke which one it is."
        )
        with gr.Row():
            with gr.Column(scale=4):
                canvas = gr.Sketchpad(
                    PAPER,
                    label="Canvas",
                    image_mode="L",
                    canvas_size=(SIDE, SIDE),
                    height="min(460px, 90vw)",
                    brush=gr.Brush(default_size=BRUSH, colors=["#000000"], color_mode="fixed"),
                    layers=False,
                    transforms=(),
                    buttons=[],
                    elem_id="canvas",
                )
                clear = gr.Button("Clear")
            with gr.Column(scale=2, min_width=280):
                seen = gr.Image(
                    label="What it sees: 28 × 28 pixels",
                    format="png",
                    height=280,
                    buttons=[],
                    elem_id="seen",
                )
            with gr.Column(scale=3):
                said = gr.Label(task, label="What it says", num_top_classes=10)
        canvas.input(
            partial(_answer, network, about, task),
            canvas,
            [seen, said],
            show_progress="hidden",
            trigger_mode="always_last",  # not to miss a stroke that is drawn before the answer
        )
        gr.on([clear.click, canvas.clear], lambda: PAPER, None, canvas, show_progress="hidden")
    return page


def _answer(
    network: model.DeepCNN, about: DatasetInfo, task: str, layers: dict[str, Any]
) -> tuple[NDArray[np.uint8] | None, dict[str, float] | str]:
    """What the network sees of a drawing, `uint8 (28, 28)`, and its ten probabilities.

    Of an empty one there is only the `task`.
    """
    drawing = layers["composite"]
    try:
        # A canvas without anything, not even paper, comes as no image.
        picture = PAPER if drawing is None else drawing
        pixels = images.preprocess(picture, "the canvas", box=about.box, strokes=about.strokes)
    except UserError:
        return None, task
    (probabilities,) = model.predict(network, torch.from_numpy(pixels[np.newaxis])).tolist()
    return pixels[0], dict(zip(about.classes, probabilities, strict=True))
