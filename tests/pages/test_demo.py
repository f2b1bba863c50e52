"""The demo's page: predictions for strokes, and no request to anything but loopback."""

import math
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

from mnist_cnn.errors import UserError
from mnist_cnn.learning import model

import pytest
from clone import ROOT
from described import DESCRIPTIONS
from PIL import Image
from playwright.sync_api import expect
from server import free_port, serve
from small_networks import deep_cnn

SCRIPT = str(ROOT / "src/demo.py")
ANY_MODEL = ROOT / "tests/assets/model_v1.pth"

# Strokes, as points to the right of the middle of the canvas and below it, in pixels.
BAR = [(60, -130), (60, 130)]
CORNER = [(-30, -130), (-100, 40), (120, 40)]
SCRIBBLE = [(120 * (-1) ** k, 10 * k - 150) for k in range(31)]
RING = [(90 * math.sin(k * math.pi / 6), -130 * math.cos(k * math.pi / 6)) for k in range(13)]


@pytest.fixture(scope="module")
def demo(published_model, tmp_path_factory):
    """The address of the page; its server has a proxy that does not answer."""
    folder, port = tmp_path_factory.mktemp("demo"), free_port()
    command = [sys.executable, SCRIPT, "--model", str(published_model), "--port", str(port)]
    variables = {"ALL_PROXY": "http://127.0.0.1:9", "TMPDIR": str(folder)}
    with serve(folder, command, port, path="/", **variables) as address:
        yield address
        assert "demo_page.py" not in (folder / "server.log").read_text()  # in a traceback


@pytest.fixture
def hosts(page):
    """The hosts that the page requests something from."""
    names = set()
    page.on("request", lambda request: names.add(urlsplit(request.url).hostname))
    page.on("websocket", lambda socket: names.add(urlsplit(socket.url).hostname))
    return names


def draw(page, stroke):
    canvas = page.locator("#canvas canvas").first.bounding_box()
    middle = canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2
    for number, (right, down) in enumerate(stroke):
        page.mouse.move(middle[0] + right, middle[1] + down)
        if number == 0:
            page.mouse.down()
    page.mouse.up()


def predicts(page, digit):
    label = page.get_by_test_id("label")
    expect(label.get_by_role("heading")).to_have_text(str(digit))
    expect(label.get_by_role("meter")).to_have_count(10)
    # The rows are in the order of the classes, whichever is the most probable.
    expect(label.get_by_role("term")).to_have_text([re.compile(f"^{k}$") for k in range(10)])
    expect(label.get_by_role("definition").nth(digit)).to_have_text(re.compile("^(9.|100)%$"))
    seen = page.locator("#seen img")
    expect(seen).to_be_visible()
    for side in ("naturalWidth", "naturalHeight"):
        expect(seen).to_have_js_property(side, 28)


def is_empty(page):
    label = page.get_by_test_id("label")
    expect(label.get_by_role("heading")).to_have_text("draw a digit")
    expect(label.get_by_role("meter")).to_have_count(0)
    expect(page.locator("#seen img")).to_have_count(0)
    expect(page.get_by_test_id("toast-body")).to_have_count(0)


def test_the_prediction_follows_every_stroke_until_the_canvas_is_cleared(page, hosts, demo):
    page.goto(demo)
    # The first step that can be undone is the sheet of paper.
    expect(page.get_by_role("button", name="Undo")).to_be_enabled()
    is_empty(page)
    draw(page, BAR)
    predicts(page, 1)
    draw(page, CORNER)
    predicts(page, 4)
    page.get_by_role("button", name="Undo").click()
    predicts(page, 1)
    for clear in ("Clear", "Clear canvas"):
        page.get_by_role("button", name=clear, exact=True).click()
        is_empty(page)
        draw(page, RING)
        predicts(page, 0)
    assert hosts - {None} == {"127.0.0.1"}  # an image within the page has no host


def test_a_scribble_is_unlike_a_digit(page, demo):
    page.goto(demo)
    expect(page.get_by_role("button", name="Undo")).to_be_enabled()
    draw(page, SCRIBBLE)
    label = page.get_by_test_id("label")
    expect(label.get_by_role("heading")).to_have_text("unlike the digits of MNIST")
    expect(label.get_by_role("meter")).to_have_count(0)


@pytest.mark.parametrize("clear", ["Clear", "Clear canvas"])
def test_a_stroke_right_after_clear_is_neither_lost_nor_mixed_with_the_last_drawing(
    page, demo, clear
):
    page.goto(demo)
    expect(page.get_by_role("button", name="Undo")).to_be_enabled()
    draw(page, BAR)
    predicts(page, 1)
    page.get_by_role("button", name=clear, exact=True).click()
    page.wait_for_timeout(300)  # the least that a hand needs from the button to the canvas
    draw(page, RING)
    predicts(page, 0)


def test_the_page_describes_another_data_set_and_ends_without_a_trace(page, tmp_path):
    network, _, _ = model.load(ANY_MODEL)
    model.save(network, DESCRIPTIONS["FashionMNIST"].metadata(), tmp_path / "model.pth")
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, SCRIPT, "--model", "model.pth", "--port", str(free_port())]
    server = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
    )
    page.goto(re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())[0])
    expect(page.get_by_role("heading", name="Draw a product", exact=True)).to_be_visible()
    expect(page.get_by_text("trained on Fashion-MNIST")).to_be_visible()
    expect(page.get_by_role("button", name="Undo")).to_be_enabled()
    draw(page, BAR)
    expect(page.get_by_test_id("label").get_by_text("Ankle boot").first).to_be_visible()
    page.goto("about:blank")

    server.send_signal(signal.SIGINT)
    rest, _ = server.communicate(timeout=120)
    assert server.returncode in {0, 1}  # 1 if it comes before the server waits
    assert "KeyboardInterrupt" not in rest  # but uvicorn can log a request that it cancels
    assert list((tmp_path / "tmp").iterdir()) == []


def test_images_are_chosen_for_a_data_set_without_objects_to_draw(page, tmp_path):
    cats = {"object": None, "noun": "cat", "channels": 3, "height": 20, "classes": ("no", "yes")}
    metadata = DESCRIPTIONS["MNIST"].metadata().model_copy(update=cats)
    model.save(deep_cnn([2], form=metadata.form), metadata, tmp_path / "model.pth")
    Image.new("RGB", (300, 200), "red").save(tmp_path / "cat.png")
    port = free_port()
    command = [sys.executable, SCRIPT, "--model", "model.pth", "--port", str(port)]
    with serve(tmp_path, command, port, path="/") as address:
        page.goto(address)
        expect(page.get_by_role("heading", name="Choose an image", exact=True)).to_be_visible()
        page.set_input_files("input[type=file]", tmp_path / "cat.png")
        expect(page.get_by_test_id("label").get_by_role("meter")).to_have_count(2)
        seen = page.locator("#seen img")
        expect(seen).to_have_js_property("naturalWidth", 28)
        expect(seen).to_have_js_property("naturalHeight", 20)
        page.get_by_role("button", name="Clear", exact=True).click()
        expect(seen).to_have_count(0)


def test_a_port_in_use_and_a_missing_gradio_are_errors_of_one_line(monkeypatch):
    main = runpy.run_path(SCRIPT)["main"]
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        monkeypatch.setattr("sys.argv", ["demo.py", "--model", str(ANY_MODEL), "--port", port])
        with pytest.raises(UserError, match=f"port {port}: in use or not available"):
            main()

    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r"Gradio is missing: pip install '\.\[demo\]'"):
        main()
