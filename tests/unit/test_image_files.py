"""Image files of any format become grey values, and hostile files are rejected."""

import functools
import os
import re
import struct
import warnings
import zlib
from pathlib import Path

from mnist_cnn.datasets import image_files
from mnist_cnn.errors import UserError

import numpy as np
import pytest
from drawings import draw, encode, mean_difference
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

FORMATS = {
    "PNG": {},
    "JPEG": {},
    "BMP": {},
    "GIF": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}
BLACK, WHITE = (0, 0, 0, 255), (255, 255, 255, 255)


def decode(image, kind="PNG", **options):
    return image_files.decode(encode(image, kind, **options), "file")


def deep(image, dtype):
    return Image.fromarray(np.asarray(image).astype(dtype) * 17)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_has_the_same_grey_values(kind, mode):
    grey = decode(draw().convert(mode), kind, **FORMATS[kind])
    assert (grey.dtype, grey.shape) == (np.uint8, (240, 200))
    assert mean_difference(grey, draw()) < 1


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        *((draw().convert(mode), "PNG") for mode in ("1", "P", "LA", "RGBA")),
        (draw().convert("CMYK"), "JPEG"),
        (deep(draw(), np.uint16), "PNG"),
        *((deep(draw(), dtype), "TIFF") for dtype in (np.uint16, np.int32, np.float32)),
    ],
    ids=lambda value: getattr(value, "mode", value),
)
def test_every_mode_has_the_same_grey_values(image, kind):
    assert mean_difference(decode(image, kind), draw()) < 3


def test_an_image_of_16_bits_and_one_value_stays_plain():
    assert np.ptp(decode(deep(Image.new("L", (9, 9), 9), np.uint16))) == 0


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (draw(mode="RGBA", ink=BLACK, paper=(0, 0, 0, 0)), draw()),
        (draw(mode="RGBA", ink=BLACK, paper=WHITE), draw()),
        (draw(mode="RGBA", ink=WHITE, paper=(0, 0, 0, 0)), draw(ink=255, paper=0)),
        (draw(mode="RGBA", ink=WHITE, paper=(255, 255, 255, 0)), draw(ink=255, paper=0)),
        (draw(mode="LA", ink=(0, 90), paper=(0, 0)), draw(ink=165)),
        (Image.new("RGBA", (200, 240)), Image.new("L", (200, 240))),
    ],
    ids=["black", "opaque", "white", "white-on-transparent-white", "faint", "nothing"],
)
def test_transparent_images_have_a_background_with_contrast(image, expected):
    assert mean_difference(decode(image), expected) < 1


def test_a_colour_can_be_declared_transparent():
    image = draw(mode="RGB", ink=(9, 9, 9), paper=(0, 0, 0))
    assert mean_difference(decode(image, transparency=(0, 0, 0)), draw(ink=9)) < 3


@pytest.mark.parametrize(("ink", "paper"), [(BLACK, WHITE), (WHITE, BLACK)])
def test_corners_that_are_cut_away_have_the_tone_of_the_paper(ink, paper):
    oval = Image.new("L", (200, 240), 0)
    ImageDraw.Draw(oval).ellipse((0, 0, 199, 239), fill=255)
    image = draw(mode="RGBA", ink=ink, paper=paper)
    image.putalpha(oval)
    assert mean_difference(decode(image), draw(ink=ink[0], paper=paper[0])) < 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_image_is_rotated_by_its_exif_orientation(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = decode(draw().convert("RGB").transpose(Image.Transpose.ROTATE_90), kind, exif=exif)
    assert grey.shape == (240, 200)
    assert mean_difference(grey, draw()) < 3


def test_a_colour_image_is_rotated_by_its_exif_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (40, 20), "blue")
    image.paste("red", (0, 0, 20, 20))
    planes = image_files.decode_planes(encode(image, "PNG", exif=exif), "a", 3)
    assert planes.shape == (3, 40, 20)
    assert (planes[0, :20] == 255).all()
    assert (planes[2, 20:] == 255).all()


def test_a_colour_image_is_put_on_white_where_it_is_transparent():
    image = Image.new("RGBA", (9, 9), (255, 0, 0, 255))
    image.putpixel((4, 4), (0, 0, 0, 0))
    planes = image_files.decode_planes(encode(image), "a", 3)
    assert planes[:, 4, 4].tolist() == [255, 255, 255]
    assert planes[:, 0, 0].tolist() == [255, 0, 0]


def test_grey_values_of_16_bits_keep_their_tones_in_colour():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    planes = image_files.decode_planes(encode(Image.fromarray(ramp)), "a", 3)
    assert planes.shape == (3, 16, 16)
    assert len(np.unique(planes)) == 256
    assert (planes[0] == planes[2]).all()


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_of_several_frames_is_read(kind):
    frames = [draw(digit) for digit in "438"]
    grey = decode(frames[0], kind, save_all=True, append_images=frames[1:])
    assert mean_difference(grey, frames[0]) < 3


def test_thousands_of_frames_do_not_matter():
    content = encode(draw(), "GIF")
    frame = content[content.index(b",") : -1]
    grey = image_files.decode(content[:-1] + frame * 5000 + content[-1:], "file")
    assert mean_difference(grey, draw()) < 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_image_is_averaged_down(kind):
    image = draw(size=(3000, 2000), height=1200, at=(1500, 1000))
    grey = decode(image, kind)
    assert image_files.WORKING_PIXELS / 4 < grey.size <= image_files.WORKING_PIXELS
    assert grey.shape[1] / grey.shape[0] == pytest.approx(1.5, rel=0.01)
    assert mean_difference(grey, image.resize(grey.shape[::-1], Image.Resampling.BOX)) < 1


def test_the_largest_image_within_the_limit_is_read():
    assert decode(Image.new("1", (8000, 8000))).size <= image_files.WORKING_PIXELS


# Files that are not to be trusted


@functools.cache
def zeros(size):
    return zlib.compress(bytes(size), 1)


def png(width, height, *chunks):
    """A PNG that declares its size and is black, with further chunks before its pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(min(width + 1, 1000) * min(height, 1000)))
    chunks = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def declare_size(kind, position, size):
    """An image of 8 × 8 pixels whose header declares another size."""
    content = encode(Image.new("P", (8, 8)), kind)
    return content[:position] + size + content[position + len(size) :]


def jpeg_of_many_scans():
    """A progressive JPEG whose last scan is repeated."""
    content = encode(Image.new("L", (2500, 2500)), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * 2000 + content[-2:]


TOO_LARGE = "more than 64 million pixels, or a decompression bomb"
DAMAGED = "damaged, cut short, or of an unsupported kind"
BOMBS = {
    "PNG": (lambda: png(60_000, 60_000), TOO_LARGE),
    "PNG-of-which-Pillow-only-warns": (lambda: png(10_000, 10_000), TOO_LARGE),
    "PNG-of-one-line": (lambda: png(2**31 - 1, 1), TOO_LARGE),
    "GIF": (lambda: declare_size("GIF", 6, b"\xff\xff\xff\xff"), TOO_LARGE),
    "BMP": (lambda: declare_size("BMP", 18, struct.pack("<ii", 60_000, 60_000)), TOO_LARGE),
    "JPEG-of-many-scans": (jpeg_of_many_scans, TOO_LARGE),
    "zTXt": (lambda: png(28, 28, (b"zTXt", b"k\0\0" + zeros(200_000_000))), DAMAGED),
    "iTXt": (lambda: png(28, 28, (b"iTXt", b"k\0\1\0\0\0" + zeros(200_000_000))), DAMAGED),
    "iCCP": (lambda: png(28, 28, (b"iCCP", b"k\0\0" + zeros(200_000_000))), DAMAGED),
    "many-zTXt": (
        lambda: png(28, 28, *[(b"zTXt", b"k%d\0\0" % i + zeros(10**6)) for i in range(200)]),
        DAMAGED,
    ),
}


def megabytes(name):
    """A figure of this process's memory."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) / 1024


@pytest.mark.parametrize(("make", "reason"), BOMBS.values(), ids=BOMBS)
@pytest.mark.filterwarnings("error")
def test_a_decompression_bomb_is_rejected_in_little_memory(make, reason):
    content = make()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = megabytes("VmRSS")
    with pytest.raises(UserError, match=f"^file: {reason}$"):
        image_files.decode(content, "file")
    assert megabytes("VmHWM") - before < 150


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"a text\n", "not an image of the formats PNG, JPEG, ", id="text"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image of the formats", id="PostScript"),
        pytest.param(encode(Image.new("L", (9, 9)), "ICO"), "not an image of", id="other-format"),
        pytest.param(encode(draw())[:500], DAMAGED, id="half-a-PNG"),
        pytest.param(
            encode(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"), DAMAGED, id="NaN"
        ),
    ],
)
def test_a_file_that_is_no_image_is_rejected_on_one_line(content, reason):
    with pytest.raises(UserError, match=f"^file: {reason}") as error:
        image_files.decode(content, "file")
    assert str(error.value).isprintable()


def test_a_file_of_too_many_bytes_is_rejected_before_it_is_decoded(monkeypatch, tmp_path):
    monkeypatch.setattr(image_files, "MAX_BYTES", 1_000_000)
    path = tmp_path / "large.png"
    path.write_bytes(encode(draw()) + bytes(1_000_000))
    with pytest.raises(UserError, match=r"large\.png: more than 1 million bytes"):
        image_files.read_planes(path, 1)


INTACT = {kind: encode(draw().convert("RGB"), kind, **FORMATS[kind]) for kind in FORMATS}


@pytest.mark.parametrize("kind", FORMATS)
@given(st.data())
def test_a_damaged_file_is_read_or_rejected(kind, data):
    content = bytearray(INTACT[kind])
    for place in data.draw(st.lists(st.integers(0, min(len(content), 2000) - 1), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(1, len(content)))]
    with warnings.catch_warnings(action="error"):
        try:
            grey = image_files.decode(bytes(content), "file")
        except UserError:
            return
    assert (grey.dtype, grey.ndim) == (np.uint8, 2)


# Paths


def test_a_path_without_a_file_is_rejected(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path, reason in {
        tmp_path / "absent.png": "missing",
        tmp_path: "not a file",
        tmp_path / "fifo": "not a file",
        Path("/dev/zero"): "not a file",
        tmp_path / ("a" * 300): "cannot be read (File name too long)",
    }.items():
        with pytest.raises(UserError, match=f"^{re.escape(f'{path}: {reason}')}$"):
            image_files.read_planes(path, 1)


def test_the_images_of_a_folder_are_found_in_order(tmp_path):
    names = ["b.png", "a.JPG", "0/z.tiff", "0/deep/er.webp", "c.gif", "d.jfif", "e.HEIC", "f.avif"]
    for name in [*names, ".hidden.png", ".hidden/d.png", "notes.txt", "png"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "folder.png").mkdir()
    found = [str(path.relative_to(tmp_path)) for path in image_files.find(tmp_path)]
    assert found == [
        "0/deep/er.webp",
        "0/z.tiff",
        "a.JPG",
        "b.png",
        "c.gif",
        "d.jfif",
        "e.HEIC",
        "f.avif",
    ]


def test_a_path_that_is_no_folder_stands_for_itself(tmp_path):
    for path in (tmp_path / "absent.txt", Path("/dev/zero")):
        assert image_files.find(path) == [path]


def test_a_folder_without_images_is_rejected(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="no images in this folder"):
        image_files.find(tmp_path)
