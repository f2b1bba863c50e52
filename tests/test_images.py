"""Pictures of any kind come out as MNIST's own images are, and hostile files are refused."""

import functools
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

from mnist_cnn import data, datasets, images, model, sources
from mnist_cnn.errors import UserError

import numpy as np
import pytest
import torch
from clone import ROOT
from examples import FASHION, on_fashion
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw, ImageFont

BEST_MODEL = ROOT / "models/best_model.pth"
FORMATS = {"PNG": {}, "JPEG": {}, "BMP": {}, "GIF": {}, "TIFF": {}, "WEBP": {"lossless": True}}


def drawn(digit="4", *, ink=0, paper=255, size=(200, 240), height=150, at=(100, 120), mode="L"):
    """A digit in Pillow's own font."""
    image = Image.new(mode, size, paper)
    font = ImageFont.load_default(height)
    ImageDraw.Draw(image).text(at, digit, ink, font, anchor="mm")
    return image


def saved(image, kind="PNG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def prepared(grey):
    return images.preprocess(grey, "it", box=20, strokes=True)


def seen(image, kind="PNG", **options):
    """What the network is shown of an image that was saved."""
    return prepared(images.decode(saved(image, kind, **options), "it"))


def difference(a, b):
    """The mean difference of two images, in grey levels."""
    return np.abs(a.astype(int) - b.astype(int)).mean()


@pytest.fixture(scope="module")
def test_set():
    """Every tenth image of the test set, `uint8 (1000, 28, 28)`, and its label."""
    digits = data.load("test", ROOT / "data/MNIST/raw")
    return digits.images[::10, 0].numpy(), digits.labels[::10]


# Reading


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_format_gives_its_grey_values(kind, mode):
    image = drawn().convert(mode)
    grey = images.decode(saved(image, kind, **FORMATS[kind]), "it")
    assert grey.dtype == np.uint8
    assert grey.shape == (240, 200)
    assert difference(grey, np.asarray(drawn())) < 1


def deep(image, dtype):
    return Image.fromarray(np.asarray(image).astype(dtype) * 17)


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        pytest.param(drawn().convert("1"), "PNG", id="black-and-white"),
        pytest.param(drawn().convert("P"), "PNG", id="palette"),
        pytest.param(drawn().convert("LA"), "PNG", id="grey-with-alpha"),
        pytest.param(drawn().convert("RGBA"), "PNG", id="colour-with-alpha"),
        pytest.param(drawn().convert("CMYK"), "JPEG", id="CMYK"),
        pytest.param(deep(drawn(), np.uint16), "PNG", id="16-bit-PNG"),
        pytest.param(deep(drawn(), np.uint16), "TIFF", id="16-bit-TIFF"),
        pytest.param(deep(drawn(), np.int32), "TIFF", id="32-bit-TIFF"),
        pytest.param(deep(drawn(), np.float32), "TIFF", id="float-TIFF"),
    ],
)
def test_every_mode_gives_its_grey_values(image, kind):
    assert difference(images.decode(saved(image, kind), "it"), np.asarray(drawn())) < 3


BLACK, WHITE = (0, 0, 0, 255), (255, 255, 255, 255)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(drawn(mode="RGBA", ink=BLACK, paper=(0, 0, 0, 0)), id="black-on-nothing"),
        pytest.param(drawn(mode="RGBA", ink=WHITE, paper=(0, 0, 0, 0)), id="white-on-nothing"),
        pytest.param(
            drawn(mode="RGBA", ink=WHITE, paper=(255, 255, 255, 0)), id="white-on-white-nothing"
        ),
        pytest.param(drawn(mode="LA", ink=(0, 90), paper=(0, 0)), id="faint-on-nothing"),
        pytest.param(drawn(mode="RGBA", ink=BLACK, paper=WHITE), id="opaque"),
    ],
)
def test_strokes_are_seen_on_a_transparent_background(image):
    assert difference(seen(image), seen(drawn())) < 1


def test_a_colour_can_be_the_transparent_one():
    content = saved(drawn(mode="RGB", ink=(9, 9, 9)), transparency=(255, 255, 255))
    assert difference(prepared(images.decode(content, "it")), seen(drawn())) < 1


@pytest.mark.parametrize("paper", [BLACK, WHITE], ids=["black", "white"])
def test_paper_with_its_corners_cut_away_is_no_digit(paper):
    ink = BLACK if paper == WHITE else WHITE
    disc = Image.new("L", (200, 240), 0)
    ImageDraw.Draw(disc).ellipse((0, 0, 199, 239), fill=255)
    image = drawn(mode="RGBA", ink=ink, paper=paper)
    image.putalpha(disc)
    assert difference(seen(image), seen(drawn())) < 1


TURNED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", TURNED)
def test_an_image_is_turned_as_its_exif_orientation_says(kind, orientation):
    turn = TURNED[orientation]
    stored = drawn() if turn is None else drawn().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    grey = images.decode(saved(stored.convert("RGB"), kind, exif=exif), "it")
    assert grey.shape == (240, 200)
    assert difference(grey, np.asarray(drawn())) < 3


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_frames_the_first_is_read(kind):
    frames = [drawn(digit) for digit in "438"]
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert difference(images.decode(content, "it"), np.asarray(frames[0])) < 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_image_is_averaged_down(kind):
    image = drawn(size=(3000, 2000), height=1200, at=(1500, 1000))
    grey = images.decode(saved(image, kind), "it")
    assert images.WORKING_PIXELS / 4 < grey.size <= images.WORKING_PIXELS
    assert grey.shape[1] / grey.shape[0] == pytest.approx(1.5, rel=0.01)
    assert difference(prepared(grey), seen(drawn())) < 3


# Preparing


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(drawn(ink=255, paper=0), id="white-on-black"),
        pytest.param(drawn(ink=100, paper=160), id="grey-on-grey"),
        pytest.param(
            drawn(mode="RGB", ink=(20, 30, 160), paper=(250, 240, 200)), id="ink-on-cream"
        ),
        pytest.param(drawn(size=(900, 900), at=(800, 110)), id="in-a-corner"),
        pytest.param(drawn(size=(2000, 200), at=(300, 100)), id="wide-image"),
        pytest.param(drawn(size=(150, 1500), at=(75, 900)), id="high-image"),
        pytest.param(drawn(size=(1200, 1400), height=900, at=(600, 700)), id="huge"),
        pytest.param(drawn(size=(100, 100), height=75, at=(50, 50)), id="small"),
    ],
)
def test_a_digit_looks_the_same_in_any_picture(image):
    assert difference(seen(image), seen(drawn())) < 5


def test_a_digit_of_twelve_pixels_looks_much_the_same():
    assert difference(seen(drawn(size=(20, 24), height=16, at=(10, 12))), seen(drawn())) < 15


def test_a_digit_cut_out_without_a_margin_looks_the_same():
    whole = drawn()
    cut = whole.crop(Image.eval(whole, lambda value: 255 - value).getbbox())
    assert difference(seen(cut), seen(whole)) < 1


def photographed(image, *, noise=6, quality=60):
    """Unevenly lit, darker in the corners, with noise, as a JPEG."""
    height, width = image.height, image.width
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    light = 0.75 + 0.15 * x - 0.1 * y - 0.08 * (x**2 + y**2)
    reflected = light * (60 + 0.76 * np.asarray(image))
    reflected += np.random.default_rng(0).normal(0, noise, reflected.shape)
    return saved(Image.fromarray(reflected.clip(0, 255).astype(np.uint8)), "JPEG", quality=quality)


def test_a_photograph_of_a_digit_looks_like_the_digit():
    image = drawn(size=(900, 1000), height=300, at=(350, 600))
    grey = images.decode(photographed(image), "it")
    assert difference(prepared(grey), seen(drawn())) < 4


def test_a_speck_of_dirt_does_not_move_the_digit():
    image = drawn()
    ImageDraw.Draw(image).ellipse((3, 3, 6, 6), fill=0)
    assert difference(seen(image), seen(drawn())) < 1


@pytest.mark.parametrize(
    ("box", "size"),
    [
        pytest.param((90, 20, 109, 219), (20, 2), id="narrow"),
        pytest.param((20, 90, 179, 97), (1, 20), id="wide"),
        pytest.param((50, 50, 149, 149), (20, 20), id="square"),
        pytest.param((100, 100, 100, 100), (20, 20), id="one-pixel"),
    ],
)
def test_the_longer_side_is_20_pixels_and_the_aspect_ratio_is_kept(box, size):
    image = Image.new("L", (200, 240), 255)
    ImageDraw.Draw(image).rectangle(box, fill=0)
    _, rows, columns = seen(image).nonzero()
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == size


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(Image.new("L", (50, 40), 128), id="grey"),
        pytest.param(Image.new("L", (1, 1), 0), id="one-pixel"),
        pytest.param(Image.new("RGBA", (50, 40), (0, 0, 0, 0)), id="transparent"),
        pytest.param(Image.linear_gradient("L"), id="gradient"),
        pytest.param(deep(Image.new("L", (50, 40), 9), np.uint16), id="16-bit"),
    ],
)
def test_an_image_without_a_digit_is_refused(image):
    with pytest.raises(UserError, match="it: nothing to be seen"):
        seen(image)


def test_a_photograph_of_blank_paper_is_refused():
    grey = images.decode(photographed(Image.new("L", (900, 1000), 255)), "it")
    with pytest.raises(UserError, match="nothing to be seen"):
        prepared(grey)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_any_values_give_28_by_28_pixels_or_are_refused(grey):
    try:
        pixels = prepared(grey)
    except UserError:
        return
    assert (pixels.dtype, pixels.shape) == (np.uint8, (1, 28, 28))
    assert pixels.max() >= images.WHITE


@st.composite
def strokes(draw):
    """Black lines on white paper, `uint8 (80, 80)`, 40 pixels long or more, with a margin of 8."""
    place = st.tuples(st.integers(15, 64), st.integers(15, 64))
    points = draw(st.lists(place, min_size=2, max_size=6))
    image = Image.new("L", (80, 80), 255)
    ImageDraw.Draw(image).line(points, fill=0, width=draw(st.integers(4, 9)))
    grey = np.asarray(image)
    assume(max(np.ptp(where) for where in np.nonzero(grey == 0)) >= 40)
    return grey


@given(strokes())
def test_the_centre_of_mass_is_in_the_middle_or_as_near_as_the_digit_fits(grey):
    (pixels,) = prepared(grey).astype(float)
    for axis in (0, 1):
        mass = pixels.sum(axis=1 - axis)
        inked = mass.nonzero()[0]
        assert (
            abs(mass @ np.arange(28) / mass.sum() - 14) <= 0.55 or inked[0] == 0 or inked[-1] == 27
        )


@given(strokes())
def test_the_negative_looks_the_same(grey):
    assert difference(prepared(255 - grey), prepared(grey)) < 0.1


@given(strokes(), st.integers(-8, 8), st.integers(-8, 8))
def test_a_shifted_digit_looks_the_same(grey, down, right):
    shifted = np.roll(grey, (down, right), axis=(0, 1))
    assert difference(prepared(shifted), prepared(grey)) < 0.1


@given(strokes(), st.integers(2, 5))
def test_an_enlarged_digit_looks_the_same(grey, factor):
    enlarged = prepared(grey.repeat(factor, axis=0).repeat(factor, axis=1))
    # The centre of mass may fall on the other side of the middle between two pixels.
    shifted = [
        np.roll(enlarged, (down, right), axis=(1, 2)) for down in (-1, 0, 1) for right in (-1, 0, 1)
    ]
    assert min(difference(image, prepared(grey)) for image in shifted) < 4


@given(strokes(), st.integers(0, 215), st.integers(0, 215))
def test_contrast_and_brightness_do_not_matter(grey, dark, less_light):
    light = max(dark + 40, 255 - less_light)
    dull = np.where(grey == 255, light, dark).astype(np.uint8)
    assert difference(prepared(dull), prepared(grey)) < 0.1


def test_images_of_mnist_come_out_nearly_as_they_are(test_set):
    pixels, _ = test_set
    again = np.concatenate([prepared(grey) for grey in pixels])
    changed = np.abs(again.astype(int) - pixels).max(axis=(1, 2))
    assert difference(again, pixels) < 0.5
    assert (changed <= 2).mean() > 0.93


@pytest.mark.skipif(not BEST_MODEL.exists(), reason="`dvc repro` makes models/best_model.pth")
def test_images_of_mnist_are_read_as_well_from_files(test_set):
    pixels, labels = test_set
    network, _ = model.load(BEST_MODEL)
    from_files = torch.from_numpy(np.stack([seen(Image.fromarray(grey)) for grey in pixels]))
    raw = torch.from_numpy(pixels).unsqueeze(1)
    accuracy, other = (
        float((model.predict(network, these).argmax(1) == labels).float().mean())
        for these in (raw, from_files)
    )
    assert abs(accuracy - other) <= 0.002


def test_what_is_no_stroke_keeps_its_tones_and_its_light_parts():
    product = Image.new("L", (200, 240), 255)
    ImageDraw.Draw(product).rectangle((60, 40, 139, 119), fill=30)
    ImageDraw.Draw(product).rectangle((60, 120, 139, 199), fill=190)
    (pixels,) = images.preprocess(np.asarray(product), "it", box=28, strokes=False)

    assert set(pixels[1:13, 11:17].flat) == {225}
    assert set(pixels[15:27, 11:17].flat) == {65}


@pytest.mark.parametrize("grey", [10, 245, 0])
def test_specks_of_which_nothing_is_left_are_refused(grey):
    picture = np.full((500, 500), 255, np.uint8)
    picture[10, 10] = picture[490, 490] = grey
    with pytest.raises(UserError, match="it: nothing to be seen"):
        images.preprocess(picture, "it", box=28, strokes=False)


@on_fashion
def test_products_from_anywhere_come_out_much_as_those_of_fashion_mnist(tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_DIR", str(FASHION))
    about = datasets.INFO["FashionMNIST"]
    sources.download("FashionMNIST", ["folder"], 1, tmp_path)
    products = data.load("test", tmp_path).images[::100, 0].numpy()

    def again(product):
        picture = Image.new("L", (300, 260), 255)
        large = Image.fromarray(255 - product).resize((196, 196), Image.Resampling.BICUBIC)
        picture.paste(large, (60, 30))
        return images.preprocess(np.asarray(picture), "it", box=about.box, strokes=about.strokes)

    alike = [np.corrcoef(again(one).ravel(), one.ravel())[0, 1] for one in products]
    assert np.median(alike) > 0.85  # in the box of a digit, 0.5


# Files that are not to be trusted


def chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(width, height, *chunks):
    """A PNG that declares its size and is black, with chunks of text before its pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(min(width + 1, 1000) * min(height, 1000)))
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *chunks,
            chunk(b"IDAT", pixels),
            chunk(b"IEND", b""),
        ]
    )


def gif(width, height):
    content = bytearray(saved(Image.new("P", (8, 8)), "GIF"))
    content[6:10] = struct.pack("<HH", width, height)
    return bytes(content)


def bmp(width, height):
    content = bytearray(saved(Image.new("L", (8, 8)), "BMP"))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


def jpeg_of_many_scans(count):
    """A progressive JPEG whose last scan is repeated."""
    content = saved(Image.new("L", (2500, 2500)), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * count + content[-2:]


@functools.cache
def compressed(size):
    return zlib.compress(bytes(size), 1)


BOMBS = {
    "PNG": lambda: png(60_000, 60_000),
    "PNG-of-which-Pillow-only-warns": lambda: png(10_000, 10_000),
    "PNG-one-line": lambda: png(2**31 - 1, 1),
    "GIF": lambda: gif(65_535, 65_535),
    "BMP": lambda: bmp(60_000, 60_000),
    "JPEG-of-many-scans": lambda: jpeg_of_many_scans(2000),
}
TEXT_BOMBS = {
    "zTXt": lambda: png(28, 28, chunk(b"zTXt", b"k\0\0" + compressed(200_000_000))),
    "iTXt": lambda: png(28, 28, chunk(b"iTXt", b"k\0\1\0\0\0" + compressed(200_000_000))),
    "many-zTXt": lambda: png(
        28, 28, *[chunk(b"zTXt", b"k%d\0\0" % i + compressed(10**6)) for i in range(200)]
    ),
    "iCCP": lambda: png(28, 28, chunk(b"iCCP", b"k\0\0" + compressed(200_000_000))),
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
@pytest.mark.filterwarnings("error")
def test_what_declares_too_much_is_refused(make):
    with pytest.raises(UserError, match="it: more than 64 million pixels, or a decompression bomb"):
        images.decode(make(), "it")


@pytest.mark.parametrize("make", TEXT_BOMBS.values(), ids=TEXT_BOMBS)
def test_text_that_unpacks_to_too_much_is_refused(make):
    with pytest.raises(UserError, match="it: an image that is damaged"):
        images.decode(make(), "it")


def test_bombs_take_little_memory(tmp_path):
    for name, make in (BOMBS | TEXT_BOMBS).items():
        (tmp_path / name).write_bytes(make())
    program = r"""
import re, sys
from pathlib import Path
from mnist_cnn import errors, images

def megabytes(what):
    return int(re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024

Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now
before = megabytes("VmRSS")
for path in Path(sys.argv[1]).iterdir():
    try:
        images.read(path)
    except errors.UserError:
        print(path.name)
print(megabytes("VmHWM") - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True
    )
    *refused, megabytes = done.stdout.split()
    assert set(refused) == BOMBS.keys() | TEXT_BOMBS.keys()
    assert int(megabytes) < 150


def test_a_large_image_within_the_limit_is_read():
    assert images.decode(saved(Image.new("1", (8000, 8000))), "it").size <= images.WORKING_PIXELS


def test_more_frames_than_can_be_counted_do_not_matter():
    content = saved(drawn(), "GIF")
    frame = content[content.index(b",") : -1]
    many = content[:-1] + frame * 5000 + content[-1:]
    assert difference(images.decode(many, "it"), np.asarray(drawn())) < 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"a text\n", "not an image of the formats PNG, JPEG, ", id="text"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image of the formats", id="PostScript"),
        pytest.param(saved(Image.new("L", (9, 9)), "ICO"), "not an image of", id="another-format"),
        pytest.param(saved(drawn())[:500], "damaged, cut short", id="half-a-PNG"),
        pytest.param(
            saved(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"),
            "damaged, cut short or of a rare kind",
            id="no-numbers",
        ),
    ],
)
def test_what_is_no_image_is_refused_on_one_line(content, reason):
    with pytest.raises(UserError, match=reason) as error:
        images.decode(content, "it")
    assert str(error.value).startswith("it: ")
    assert str(error.value).isprintable()


def test_too_many_bytes_are_not_looked_at(monkeypatch, tmp_path):
    monkeypatch.setattr(images, "MAX_BYTES", 1_000_000)
    path = tmp_path / "large.png"
    path.write_bytes(saved(drawn()) + bytes(1_000_000))
    with pytest.raises(UserError, match=r"large\.png: more than 1 million bytes"):
        images.read(path)


WHOLE = {kind: saved(drawn().convert("RGB"), kind, **FORMATS[kind]) for kind in FORMATS}


@pytest.mark.parametrize("kind", FORMATS)
@given(st.data())
def test_a_damaged_file_is_read_or_refused(kind, data):
    content = bytearray(WHOLE[kind])
    for place in data.draw(st.lists(st.integers(0, min(len(content), 2000) - 1), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(1, len(content)))]
    with warnings.catch_warnings(action="error"):
        try:
            grey = images.decode(bytes(content), "it")
        except UserError:
            return
    assert (grey.dtype, grey.ndim) == (np.uint8, 2)


def test_a_path_that_is_no_file_is_refused_on_one_line(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path, reason in {
        tmp_path / "absent.png": "missing",
        tmp_path: "not a file",
        tmp_path / "fifo": "not a file",
        tmp_path / ("a" * 300): "cannot be read",
    }.items():
        with pytest.raises(UserError, match=reason) as error:
            images.read(path)
        assert str(error.value).startswith(f"{path}: ")


def test_a_device_is_no_file():
    with pytest.raises(UserError, match="/dev/zero: not a file"):
        images.read(Path("/dev/zero"))


# Folders


def test_the_images_in_a_folder_are_found_in_order(tmp_path):
    names = ["b.png", "a.JPG", "0/z.tiff", "0/deep/er.webp", "c.gif"]
    for name in [*names, ".hidden.png", ".hidden/d.png", "notes.txt", "png"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "folder.png").mkdir()
    found = [str(path.relative_to(tmp_path)) for path in images.find(tmp_path)]
    assert found == ["0/deep/er.webp", "0/z.tiff", "a.JPG", "b.png", "c.gif"]


def test_what_is_no_folder_is_found_as_it_is(tmp_path):
    for path in (tmp_path / "absent.txt", Path("/dev/zero")):
        assert images.find(path) == [path]


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="a folder without images"):
        images.find(tmp_path)
