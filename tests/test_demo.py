"""The page on which one draws: what it says of strokes, and that it needs nothing but loopback."""

import math
import os
import re
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

from mnist_cnn import model

import pytest
from clone import ROOT
from playwright.sync_api import expect
from server import free_port, serve

SCRIPT = str(ROOT / "src/demo.py")
BEST_MODEL = ROOT / "models/best_model.pth"
ANY_MODEL = ROOT / "tests/assets/model_v1.pth"

# Strokes, as points to the right of the middle of the canvas and below it, in pixels.
BAR = [(60, -130), (60, 130)]
CORNER = [(-30, -130), (-100, 40), (120, 40)]
RING = [(90 * math.sin(k * math.pi / 6), -130 * math.cos(k * math.pi / 6)) for k in range(13)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The address of the page; its server has a proxy that does not answer."""
    if not BEST_MODEL.exists():
        pytest.skip("models/best_model.pth is absent; `dvc repro` makes it")
    folder, port = tmp_path_factory.mktemp("demo"), free_port()
    command = [sys.executable, SCRIPT, "--model", str(BEST_MODEL), "--port", str(port)]
    variables = {"ALL_PROXY": "http://127.0.0.1:9", "TMPDIR": str(folder)}
    with serve(folder, command, port, path="/", **variables) as address:
        yield address
        # A traceback of ours; Gradio writes its own where a page is closed within an upload.
        assert "page.py" not in (folder / "server.log").read_text()


@pytest.fixture
def hosts(page):
    """The hosts of which the page asks anything."""
    names = set()
    page.on("request", lambda request: names.add(urlsplit(request.url).hostname))
    page.on("websocket", lambda socket: names.add(urlsplit(socket.url).hostname))
    return names


@pytest.fixture
def drawn(page, hosts, demo):
    """The page, ready to be drawn on."""
    page.goto(demo)
    # The first that can be undone is the sheet of paper.
    expect(page.get_by_role("button", name="Undo")).to_be_enabled()
    says_nothing(page)
    yield page
    assert hosts - {None} == {"127.0.0.1"}  # an image that is part of the page has no host


def draw(page, stroke):
    canvas = page.locator("#canvas canvas").first.bounding_box()
    middle = canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2
    for number, (right, down) in enumerate(stroke):
        page.mouse.move(middle[0] + right, middle[1] + down)
        if number == 0:
            page.mouse.down()
    page.mouse.up()


def says(page, digit):
    answer = page.get_by_test_id("label")
    expect(answer.get_by_role("heading")).to_have_text(str(digit))
    expect(answer.get_by_role("meter")).to_have_count(10)
    expect(answer.get_by_role("definition").first).to_have_text(re.compile("^(9.|100)%$"))
    seen = page.locator("#seen img")
    expect(seen).to_be_visible()
    for side in ("naturalWidth", "naturalHeight"):
        expect(seen).to_have_js_property(side, 28)


def says_nothing(page):
    answer = page.get_by_test_id("label")
    expect(answer.get_by_role("heading")).to_have_text("draw a digit")
    expect(answer.get_by_role("meter")).to_have_count(0)
    expect(page.locator("#seen img")).to_have_count(0)
    expect(page.get_by_test_id("toast-body")).to_have_count(0)


@pytest.mark.parametrize("clear", ["Clear", "Clear canvas"])
def test_what_is_drawn_is_told_until_it_is_cleared(drawn, clear):
    draw(drawn, BAR)
    says(drawn, 1)
    drawn.get_by_role("button", name=clear, exact=True).click()
    says_nothing(drawn)
    draw(drawn, RING)
    says(drawn, 0)


def test_the_answer_follows_every_stroke(drawn):
    draw(drawn, BAR)
    says(drawn, 1)
    draw(drawn, CORNER)
    says(drawn, 4)
    drawn.get_by_role("button", name="Undo").click()
    says(drawn, 1)


def test_it_speaks_of_the_data_set_that_the_network_has_learnt(page, tmp_path):
    network, _ = model.load(ANY_MODEL)
    model.save(network, "FashionMNIST", tmp_path / "model.pth")
    port = free_port()
    command = [sys.executable, SCRIPT, "--model", "model.pth", "--port", str(port)]
    with serve(tmp_path, command, port, path="/") as address:
        page.goto(address)
        expect(page.get_by_role("heading", name="Draw a product", exact=True)).to_be_visible()
        expect(page.get_by_text("which has learnt from Fashion-MNIST")).to_be_visible()
        expect(page.get_by_role("button", name="Undo")).to_be_enabled()
        draw(page, BAR)
        expect(page.get_by_test_id("label").get_by_text("Ankle boot").first).to_be_visible()


def test_ctrl_c_ends_it_without_a_traceback_and_leaves_no_drawing(tmp_path):
    command = [sys.executable, SCRIPT, "--model", ANY_MODEL, "--port", str(free_port())]
    server = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert "http://127.0.0.1:" in server.stdout.readline()
    server.send_signal(signal.SIGINT)
    rest, _ = server.communicate()
    assert server.returncode in {0, 1}  # 1, as of any script, where it comes at once
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_in_use_is_an_error_of_one_line():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        command = [sys.executable, SCRIPT, "--model", ANY_MODEL, "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: port {port}: in use, or not to be had\n"


def test_without_gradio_it_says_how_to_get_it():
    script = """if True:
        import runpy, sys
        sys.modules["gradio"] = None
        runpy.run_path(sys.argv.pop(), run_name="__main__")
    """
    command = [sys.executable, "-c", script, SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: Gradio is missing: pip install '.[demo]'\n"
