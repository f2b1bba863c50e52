"""The page of the demo: a canvas, the input of the network, and its predictions."""

import base64
import io
import json
from functools import partial
from typing import Any

from mnist_cnn import console, loopback
from mnist_cnn.datasets import image_files
from mnist_cnn.errors import UserError
from mnist_cnn.inference.predictor import Predictor

import gradio as gr
import numpy as np
from gradio.components.label import LabelConfidence, LabelData
from numpy.typing import NDArray
from PIL import Image

SIDE = 400  # of the canvas, in pixels
BRUSH = 14  # radius in pixels; suits digits of half the height of the canvas and more

# Gradio lets the user draw at once only if the canvas has a background.
PAPER = np.full((SIDE, SIDE), 255, np.uint8)

ROWS = 10  # probabilities shown, the highest

CSS = """
#seen img { object-fit: contain; image-rendering: pixelated; }
#canvas [aria-label="Color"] { display: none; }  /* the only colour is black */
"""


def serve(predictor: Predictor, port: int) -> None:
    """Serve the page until Ctrl-C.

    Args:
        predictor: the model.
        port: of loopback; 0 means the first free one from 7860.

    Raises `UserError` if the port is not available.
    """
    if port:
        loopback.check_port(port)
    page = _build(predictor)
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
    console.write(f"The page is on {address}; Ctrl-C ends it.")
    page.block_thread()


def _build(predictor: Predictor) -> gr.Blocks:
    dataset = predictor.dataset
    task = f"draw a {dataset.noun}" if dataset.object else "choose an image"
    parameters = sum(weight.numel() for weight in predictor.model.parameters())
    # Drawings pass through files, which are deleted after ten minutes.
    page = gr.Blocks(title=task.capitalize(), analytics_enabled=False, delete_cache=(600, 600))
    with page:
        gr.Markdown(
            f"# {task.capitalize()}\n"
            f"A network with {parameters:,} parameters, trained on {dataset.title}, classifies the "
            f"{'drawing after each stroke' if dataset.object else 'image'}."
        )
        with gr.Row():
            with gr.Column(scale=4):
                canvas = _canvas() if dataset.object else _upload()
                clear = gr.Button("Clear")
            with gr.Column(scale=2, min_width=280):
                seen = gr.Image(
                    label=f"Input of the network: {dataset.height} × {dataset.width} pixels",
                    format="png",
                    height=280,
                    buttons=[],
                    elem_id="seen",
                )
            with gr.Column(scale=3):
                predicted = gr.Label(task, label="Prediction")
                # A subclass would make Gradio write a file beside this one.
                predicted.postprocess = _label  # type: ignore[method-assign]
        changed = canvas.input if dataset.object else canvas.change
        changed(
            partial(_predict, predictor, task),
            canvas,
            [seen, predicted],
            show_progress="hidden",
            trigger_mode="always_last",  # do not miss a stroke drawn during a prediction
        )
        # In the browser: a stroke that began before an answer of the server would be lost.
        empty = _paper() if dataset.object else None
        state = json.dumps([empty, None, {"label": task}])
        outputs = [canvas, seen, predicted]
        gr.on([clear.click, canvas.clear], None, None, outputs, js=f"() => {state}")
    return page


def _label(value: Any) -> LabelData:
    """What a `gr.Label` shows for a text, or for probabilities by class.

    They stay in the order of the classes. Gradio would sort them, so rows would move as one draws.
    """
    if isinstance(value, str):
        return LabelData(label=value)
    best = sorted(value, key=value.__getitem__, reverse=True)[:ROWS]
    rows = [LabelConfidence(label=k, confidence=p) for k, p in value.items() if k in best]
    return LabelData(label=best[0], confidences=rows)


def _paper() -> dict[str, Any]:
    """The value of an empty canvas in the browser."""
    png = io.BytesIO()
    Image.fromarray(PAPER).save(png, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
    return {"background": {"path": "paper.png", "url": url}, "layers": [], "composite": None}


def _canvas() -> gr.Sketchpad:
    return gr.Sketchpad(
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


def _upload() -> gr.Image:
    return gr.Image(
        label="Image",
        image_mode="RGB",
        sources=["upload", "clipboard"],
        height="min(460px, 90vw)",
        elem_id="canvas",
    )


def _predict(
    predictor: Predictor, task: str, given: dict[str, Any] | NDArray[np.uint8] | None
) -> tuple[NDArray[np.uint8] | None, dict[str, float] | str]:
    """The input of the network for a drawing or an image, and the class probabilities.

    For an unfamiliar image, a sentence instead of probabilities. For an empty drawing and no image,
    no input and the `task`.
    """
    if given is None:
        return None, task
    if isinstance(given, dict):
        drawing = given["composite"]
        # Gradio sends no image for a canvas from which even the background was erased.
        planes = (PAPER if drawing is None else drawing)[np.newaxis]
    else:
        planes = image_files.planes(Image.fromarray(given), predictor.dataset.channels)
    try:
        pixels = predictor.preprocess(planes, "the canvas")
    except UserError:
        return None, task
    predictions = predictor.predict(pixels[np.newaxis])
    (probabilities,) = predictions.probabilities.tolist()
    shown = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    if predictions.familiarity < 0:
        return shown, f"unlike the {predictor.dataset.noun}s of {predictor.dataset.title}"
    return shown, dict(zip(predictor.dataset.classes, probabilities, strict=True))
