"""How pictures of digits from elsewhere are read: right, refused, wrong, and wrong with confidence.

    python benchmarks/pictures.py
    python benchmarks/pictures.py --save folder/

Pictures are drawn from a seed. Their digits are images of MNIST's test set, enlarged, and digits of
fonts. A picture of two digits is right if it is refused.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mnist_cnn.datasets import arrays
from mnist_cnn.inference import predictor

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FONTS = Path(matplotlib.get_data_path(), "fonts/ttf")
# The last one is Pillow's own, whose 1 has no base.
FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSerif",
    "DejaVuSansMono",
    "STIXGeneral",
    "cmr10",
    "",
)
CONFIDENT = 0.9
TWO = None  # the answer for two digits

Colour = tuple[int, int, int]
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


class Picture(NamedTuple):
    """An RGB image and the digit that it shows, or `TWO`."""

    image: Image.Image
    digit: int | None


class Artist:
    """Draws pictures with random digits, sizes, places and colours."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.images, self.labels = arrays.read("test", arrays.folder("MNIST"))

    def number(self, low: float, high: float) -> float:
        """A number in a range."""
        return float(self.random.uniform(low, high))

    def grey(self, low: float, high: float) -> Colour:
        """A grey with a slight tint."""
        level, tint = self.number(low, high), self.random.uniform(-6, 6, 3)
        return tuple(int(value) for value in (level + tint).clip(0, 255))

    def paper(self) -> Image.Image:
        """Light paper, square, of 160 to 700 pixels a side."""
        side = round(160 * 4.4 ** self.number(0, 1))
        return Image.new("RGB", (side, side), self.grey(215, 255))

    def glyph(self, height: int, printed: bool | None = None) -> tuple[Image.Image, int]:
        """The opacity of a digit, cut out, and its label; of a font or of MNIST by chance."""
        if printed is None:
            printed = self.random.random() < 0.4
        if printed:
            label = int(self.random.integers(10))
            face = self.random.choice(FACES)
            font = (
                ImageFont.truetype(FONTS / f"{face}.ttf", height * 2)
                if face
                else ImageFont.load_default(height * 2)
            )
            opacity = Image.new("L", (3 * height, 3 * height))
            ImageDraw.Draw(opacity).text((height, height // 4), str(label), 255, font)
        else:
            index = int(self.random.integers(len(self.labels)))
            label = int(self.labels[index])
            opacity = Image.fromarray(self.images[index, 0])
        cut = opacity.crop(opacity.getbbox())
        size = (max(1, round(cut.width * height / cut.height)), height)
        return cut.resize(size, Image.Resampling.BICUBIC), label

    def write(
        self,
        image: Image.Image,
        *,
        height: tuple[float, float] = (0.35, 0.6),
        at: tuple[float, float] = (0.5, 0.5),
        ink: Colour | None = None,
        printed: bool | None = None,
    ) -> tuple[int, tuple[int, int, int, int]]:
        """Write a digit; return its label and its box. Sizes are fractions of the image's side."""
        opacity, label = self.glyph(round(image.width * self.number(*height)), printed)
        shift = self.random.uniform(-0.03, 0.03, 2)
        left = round(image.width * (at[0] + shift[0]) - opacity.width / 2)
        top = round(image.height * (at[1] + shift[1]) - opacity.height / 2)
        image.paste(ink or self.grey(0, 70), (left, top), opacity)
        return label, (left, top, left + opacity.width, top + opacity.height)

    def line(self, image: Image.Image, *points: tuple[float, float], ink: Colour) -> None:
        """Draw lines between points, of 0.6 to 1.8 % of the image's side."""
        width = max(1, round(image.width * self.number(0.006, 0.018)))
        ImageDraw.Draw(image).line(points, ink, width)

    def photograph(self, picture: Picture) -> Picture:
        """Half of the pictures get a blur and noise."""
        if self.random.random() < 0.5:
            return picture
        blurred = np.asarray(picture.image.filter(ImageFilter.GaussianBlur(0.7)), float)
        noisy = blurred + self.random.normal(0, 4, (*blurred.shape[:2], 1))
        return Picture(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), picture.digit)


def plain(artist: Artist) -> Picture:
    """A digit on paper."""
    image = artist.paper()
    return Picture(image, artist.write(image)[0])


def printed(artist: Artist) -> Picture:
    """A digit of a font on paper."""
    image = artist.paper()
    return Picture(image, artist.write(image, printed=True)[0])


def on_a_desk(artist: Artist) -> Picture:
    """A sheet of paper on a dark desk, up to 8° askew."""
    sheet = artist.paper()
    digit, _ = artist.write(sheet)
    side = round(sheet.width * artist.number(1.15, 1.6))
    desk = Image.new("RGB", (side, side), artist.grey(20, 110))
    turned = sheet.convert("RGBA").rotate(
        artist.number(-8, 8), Image.Resampling.BICUBIC, expand=True
    )
    place = round((side - turned.width) * artist.number(0.2, 0.8))
    desk.paste(turned, (place, place), turned)
    return Picture(desk, digit)


def on_a_tile(artist: Artist) -> Picture:
    """A tile in the middle of a page, dark with a light digit or grey with a black one."""
    page = artist.paper()
    side = round(page.width * artist.number(0.4, 0.7))
    dark = artist.random.random() < 0.5
    tile = Image.new("RGB", (side, side), artist.grey(20, 90) if dark else artist.grey(130, 190))
    digit, _ = artist.write(tile, ink=artist.grey(220, 255) if dark else artist.grey(0, 30))
    page.paste(tile, ((page.width - side) // 2, (page.height - side) // 2))
    return Picture(page, digit)


def in_a_cell(artist: Artist) -> Picture:
    """A cell with a thin border, or with lines that go on to the cells beside it."""
    image = artist.paper()
    digit, _ = artist.write(image)
    near, far = (image.width * artist.number(*place) for place in ((0.06, 0.14), (0.86, 0.94)))
    ink = artist.grey(0, 120)
    ends = (0, image.width) if artist.random.random() < 0.5 else (near, far)
    for place in (near, far):
        artist.line(image, (ends[0], place), (ends[1], place), ink=ink)
        artist.line(image, (place, ends[0]), (place, ends[1]), ink=ink)
    return Picture(image, digit)


def below_and_beside_a_line(artist: Artist) -> Picture:
    """A line above the digit and one at its left side, in the picture."""
    image = artist.paper()
    digit, _ = artist.write(image, at=(0.53, 0.53))
    near, far = (image.width * artist.number(*place) for place in ((0.05, 0.12), (0.85, 0.95)))
    artist.line(image, (far, near), (near, near), (near, far), ink=artist.grey(0, 120))
    return Picture(image, digit)


def underlined(artist: Artist) -> Picture:
    """A line below the digit."""
    image = artist.paper()
    digit, (left, _, right, bottom) = artist.write(image)
    wider = max(image.width * 0.12, (right - left) * artist.number(0, 0.25))
    place = bottom + image.width * artist.number(0.03, 0.1)
    tilt = image.width * artist.number(-0.01, 0.01)
    artist.line(image, (left - wider, place), (right + wider, place + tilt), ink=artist.grey(0, 70))
    return Picture(image, digit)


def beside_a_margin_line(artist: Artist) -> Picture:
    """A red line at the left side, from the upper to the lower edge."""
    image = artist.paper()
    digit, _ = artist.write(image, at=(0.58, 0.5))
    place, tilt = (image.width * artist.number(*bounds) for bounds in ((0.06, 0.16), (-0.02, 0.02)))
    artist.line(image, (place, -1), (place + tilt, image.height), ink=(200, 40, 50))
    return Picture(image, digit)


def on_rules(artist: Artist) -> Picture:
    """Ruled paper, whose dark lines also cross the digit."""
    image = artist.paper()
    distance = image.width * artist.number(0.12, 0.3)
    tilt = image.width * artist.number(-0.02, 0.02)
    ink = artist.grey(60, 130)
    for place in np.arange(distance * artist.number(0.2, 1), image.height, distance):
        artist.line(image, (-1, place), (image.width, place + tilt), ink=ink)
    return Picture(image, artist.write(image)[0])


def in_a_hard_shadow(artist: Artist) -> Picture:
    """A shadow whose edge runs across the digit."""
    image = artist.paper()
    digit, (left, _, right, _) = artist.write(image)
    upper, lower = (left + (right - left) * artist.number(-0.3, 1.3) for _ in range(2))
    shadow = Image.new("L", image.size, 255)
    corner = image.width if artist.random.random() < 0.5 else 0
    ImageDraw.Draw(shadow).polygon(
        [(corner, 0), (upper, 0), (lower, image.height), (corner, image.height)],
        round(255 * artist.number(0.4, 0.7)),
    )
    light = np.asarray(shadow.filter(ImageFilter.GaussianBlur(1)))[..., np.newaxis] / 255
    return Picture(Image.fromarray((np.asarray(image) * light).astype(np.uint8)), digit)


def of_equal_lightness(artist: Artist) -> Picture:
    """Red on green, or green on red, that have the same grey value."""
    red, green = (220, 40, 40), (30, 135, 50)
    colours = [red, green] if artist.random.random() < 0.5 else [green, red]
    image = Image.new("RGB", artist.paper().size, colours[0])
    return Picture(image, artist.write(image, ink=colours[1])[0])


def of_two_digits(artist: Artist) -> Picture:
    """Two digits side by side that do not touch."""
    image = artist.paper()
    by_font = artist.random.random() < 0.4
    size = artist.number(0.25, 0.35)
    heights = (size, size * 1.15)
    _, (_, _, right, _) = artist.write(image, at=(0.27, 0.5), height=heights, printed=by_font)
    opacity, _ = artist.glyph(round(image.width * artist.number(*heights)), by_font)
    left = right + round(image.width * artist.number(0.03, 0.15))
    top = round(image.height * artist.number(0.45, 0.55) - opacity.height / 2)
    image.paste(artist.grey(0, 70), (left, top), opacity)
    return Picture(image, TWO)


KINDS: tuple[Callable[[Artist], Picture], ...] = (
    *(plain, printed, on_a_desk, on_a_tile, in_a_cell, below_and_beside_a_line, underlined),
    *(beside_a_margin_line, on_rules, in_a_hard_shadow, of_equal_lightness, of_two_digits),
)


def row(name: str, counts: Counter[str]) -> str:
    """A row of the table: percentages of all pictures of a kind."""
    total = counts.total()
    cells = (f"{counts[key] / total:.1%}".replace("%", " %") for key in ("right", "refused"))
    wrong = counts["wrong"] + counts["confident error"]
    return f"| {name} | {total} | {' | '.join(cells)} | {wrong} | {counts['confident error']} |"


def outcome(digit: int | None, prediction: predictor.Prediction | None) -> str:
    """What a prediction is for a picture of this digit; `None` stands for a refusal."""
    if prediction is None or prediction.familiarity < 0:
        return "right" if digit is TWO else "refused"
    label, confidence = prediction.ranked()[0]
    if label == digit:
        return "right"
    return "confident error" if confidence > CONFIDENT else "wrong"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=40, help="of each kind (default 40)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default=predictor.DEFAULT_MODEL)
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="keep the pictures")
    options = parser.parse_args()
    loaded = predictor.load(options.model)
    artist = Artist(options.seed)
    total: Counter[str] = Counter()
    print("| pictures | number | right | refused | wrong | wrong, over 90 % confident |")
    print("|---|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.save or Path(temporary)
        for kind in KINDS:
            counts: Counter[str] = Counter()
            for number in range(options.pictures):
                picture = artist.photograph(kind(artist))
                path = folder / f"{kind.__name__}-{number:02}-{picture.digit}.png"
                picture.image.save(path)
                predictions, _ = loaded.predict_files([str(path)])
                counts[outcome(picture.digit, next(iter(predictions), None))] += 1
            print(row(kind.__doc__.rstrip("."), counts), flush=True)
            total += counts
    print(row("**all**", total))


if __name__ == "__main__":
    main()
