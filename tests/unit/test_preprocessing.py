"""Images from anywhere become what MNIST's own images look like."""

import gzip

from mnist_cnn.datasets import idx, image_files
from mnist_cnn.errors import UserError
from mnist_cnn.inference import preprocessing
from mnist_cnn.learning import calibration, data, model

import numpy as np
import pytest
import torch
from described import DESCRIPTIONS, mnist
from drawings import draw, encode, mean_difference
from examples import FASHION, on_fashion
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits


def preprocess(image, *, object_size=20, strokes=True, one_piece=False):
    return preprocessing.preprocess(
        np.asarray(image),
        "image",
        size=28,
        object_size=object_size,
        strokes=strokes,
        one_piece=one_piece,
    )


@pytest.fixture(scope="module")
def digits():
    """Every tenth image of the test set, `uint8 (1000, 1, 28, 28)`, and its label."""
    return data.load("test", mnist()).select(torch.arange(0, 10_000, 10))


def close_crop():
    return draw().crop(Image.eval(draw(), lambda value: 255 - value).getbbox())


def with_dirt():
    image = draw()
    ImageDraw.Draw(image).ellipse((3, 3, 6, 6), fill=0)
    return image


@pytest.mark.parametrize(
    ("image", "tolerance"),
    [
        pytest.param(draw(ink=255, paper=0), 1, id="white-on-black"),
        pytest.param(draw(ink=100, paper=160), 1, id="grey-on-grey"),
        pytest.param(draw(size=(900, 900), at=(800, 110)), 1, id="in-a-corner"),
        pytest.param(draw(size=(2000, 200), at=(300, 100)), 1, id="wide-image"),
        pytest.param(draw(size=(150, 1500), at=(75, 900)), 1, id="high-image"),
        pytest.param(close_crop(), 1, id="without-a-margin"),
        pytest.param(with_dirt(), 1, id="with-a-speck-of-dirt"),
        pytest.param(draw(size=(1200, 1400), height=900, at=(600, 700)), 5, id="huge"),
        pytest.param(draw(size=(100, 100), height=75, at=(50, 50)), 5, id="small"),
        pytest.param(draw(size=(20, 24), height=16, at=(10, 12)), 15, id="12-pixels-high"),
    ],
)
def test_a_digit_looks_the_same_in_every_image(image, tolerance):
    assert mean_difference(preprocess(image), preprocess(draw())) < tolerance


def photograph(image):
    """Unevenly lit, darker in the corners, with noise, as a JPEG."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in image.size[::-1]), indexing="ij")
    light = 0.75 + 0.15 * x - 0.1 * y - 0.08 * (x**2 + y**2)
    reflected = light * (60 + 0.76 * np.asarray(image))
    reflected += np.random.default_rng(0).normal(0, 6, reflected.shape)
    taken = Image.fromarray(reflected.clip(0, 255).astype(np.uint8))
    return image_files.decode(encode(taken, "JPEG", quality=60), "photograph")


def test_a_photographed_digit_looks_like_a_drawn_one():
    image = draw(size=(900, 1000), height=300, at=(350, 600))
    assert mean_difference(preprocess(photograph(image)), preprocess(draw())) < 4


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
    _, rows, columns = preprocess(image).nonzero()
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == size


def on_a_desk(image):
    desk = Image.new("L", (320, 340), 40)
    turned = image.convert("LA").rotate(5, Image.Resampling.BICUBIC, expand=True)
    desk.paste(turned, (40, 30), turned)
    return desk.rotate(-5, Image.Resampling.BICUBIC, fillcolor=40)


def on_a_tile(image):
    page = Image.new("L", (500, 500), 255)
    page.paste(Image.eval(image, lambda value: 30 + (255 - value) * 3 // 4), (150, 130))
    return page


def with_lines(*lines, ink=60, width=4):
    image = draw()
    for line in lines:
        ImageDraw.Draw(image).line(line, fill=ink, width=width)
    return image


def in_a_shadow(image):
    light = np.tri(*image.size[::-1], k=-20) * 0.5 + 0.5
    return Image.fromarray((np.asarray(image) * light).astype(np.uint8))


CORNERS = [(15, 15), (185, 15), (185, 225), (15, 225), (15, 15)]
SURROUNDINGS = {
    "sheet-on-a-desk": on_a_desk(draw()),
    "tile-on-a-page": on_a_tile(draw()),
    "cell": with_lines(CORNERS),
    "cell-with-lines-that-go-on": with_lines(
        *([(0, y), (199, y)] for y in (15, 225)), *([(x, 0), (x, 239)] for x in (15, 185))
    ),
    "line-above-and-beside": with_lines(CORNERS[1::-1] + CORNERS[3:4]),
    "underlined": with_lines([(50, 195), (150, 196)]),
    "margin-line": with_lines([(20, 0), (22, 239)]),
    "rules": with_lines(*([(0, y), (199, y + 3)] for y in (30, 80, 130, 180, 230))),
    "shadow": in_a_shadow(draw()),
}


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_what_surrounds_strokes_is_removed(surroundings):
    assert mean_difference(preprocess(SURROUNDINGS[surroundings]), preprocess(draw())) < 8


def test_strokes_of_two_objects_are_rejected():
    image = draw("51", size=(300, 240), at=(150, 120))
    with pytest.raises(UserError, match=r"^image: shows more than one object"):
        preprocess(image, one_piece=True)
    assert preprocess(image).any()


def test_a_broken_digit_is_one_object():
    image = draw("5")
    ImageDraw.Draw(image).line([(0, 88), (199, 88)], fill=255, width=6)
    assert preprocess(image, one_piece=True).any()


def specks(grey):
    image = np.full((500, 500), 255, np.uint8)
    image[10, 10] = image[490, 490] = grey
    return image


@pytest.mark.parametrize(
    ("image", "options"),
    [
        pytest.param(Image.new("L", (50, 40), 128), {}, id="grey"),
        pytest.param(Image.new("L", (1, 1), 0), {}, id="one-pixel"),
        pytest.param(Image.linear_gradient("L"), {}, id="gradient"),
        pytest.param(np.tile(np.linspace(100, 200, 16).astype(np.uint8), (16, 1)), {}, id="tiny"),
        pytest.param(photograph(Image.new("L", (900, 1000), 255)), {}, id="photographed-paper"),
        pytest.param(specks(245), {"strokes": False}, id="faint-specks"),
        pytest.param(specks(0), {"strokes": False}, id="specks-that-vanish"),
    ],
)
def test_an_image_that_shows_nothing_is_rejected(image, options):
    with pytest.raises(UserError, match=r"^image: shows nothing"):
        preprocess(image, **options)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_any_grey_values_give_28_by_28_pixels_or_are_rejected(grey):
    try:
        pixels = preprocess(grey)
    except UserError:
        return
    assert (pixels.dtype, pixels.shape) == (np.uint8, (1, 28, 28))
    assert pixels.max() >= preprocessing.WHITE


@st.composite
def line_drawings(choose):
    """Black lines on white paper, `uint8 (80, 80)`, 40 pixels long or more, with a margin of 8."""
    place = st.tuples(st.integers(15, 64), st.integers(15, 64))
    points = choose(st.lists(place, min_size=2, max_size=6))
    image = Image.new("L", (80, 80), 255)
    ImageDraw.Draw(image).line(points, fill=0, width=choose(st.integers(4, 9)))
    grey = np.asarray(image)
    assume(max(np.ptp(where) for where in np.nonzero(grey == 0)) >= 40)
    return grey


@given(line_drawings())
def test_the_centre_of_mass_is_in_the_middle_or_as_near_as_the_digit_fits(grey):
    (pixels,) = preprocess(grey).astype(float)
    for axis in (0, 1):
        mass = pixels.sum(axis=1 - axis)
        centre = mass @ np.arange(28) / mass.sum()
        assert abs(centre - 14) <= 0.55 or mass[0] > 0 or mass[-1] > 0


@given(
    line_drawings(),
    st.integers(-8, 8),
    st.integers(-8, 8),
    st.integers(0, 215),
    st.integers(40, 255),
    st.booleans(),
)
def test_place_contrast_and_polarity_do_not_matter(grey, down, right, dark, contrast, negative):
    changed = np.roll(grey, (down, right), axis=(0, 1))
    changed = np.where(changed == 255, min(dark + contrast, 255), dark).astype(np.uint8)
    changed = 255 - changed if negative else changed
    assert mean_difference(preprocess(changed), preprocess(grey)) < 0.1


@given(line_drawings(), st.integers(2, 5))
def test_size_hardly_matters(grey, factor):
    enlarged = preprocess(grey.repeat(factor, axis=0).repeat(factor, axis=1))
    # The centre of mass may be on the other side of the middle between two pixels.
    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    shifted = (np.roll(enlarged, shift, axis=(1, 2)) for shift in shifts)
    assert min(mean_difference(image, preprocess(grey)) for image in shifted) < 4


def test_images_of_mnist_hardly_change(digits):
    images = digits.images.numpy()
    processed = np.stack([preprocess(grey) for (grey,) in images])
    largest = np.abs(processed.astype(int) - images).max(axis=(1, 2, 3))
    assert mean_difference(processed, images) < 0.5
    assert (largest <= 2).mean() > 0.93


def test_accuracy_on_images_of_mnist_hardly_changes(published_model, digits):
    network, _, _ = model.load(published_model)
    processed = torch.from_numpy(np.stack([preprocess(grey) for (grey,) in digits.images.numpy()]))
    correct, correct_processed = (
        int((model.probabilities(network, images).argmax(1) == digits.labels).sum())
        for images in (digits.images, processed)
    )
    assert abs(correct - correct_processed) <= 2


def fraction_read(path, images, labels):
    """The fraction of images that a model reads correctly and accepts."""
    network, _, fitted = model.load(path)
    inputs = torch.from_numpy(np.stack([preprocess(image) for image in images]))
    found = calibration.predict(network, fitted, inputs)
    return ((found.probabilities.argmax(1) == labels) & (found.familiarity >= 0)).double().mean()


@pytest.mark.parametrize("negative", [False, True])
def test_digits_of_eight_by_eight_pixels_are_read(published_model, negative):
    tiny = load_digits()
    grey = (tiny.images[::4] * (255 / 16)).astype(np.uint8)
    images = 255 - grey if negative else grey
    assert fraction_read(published_model, images, torch.from_numpy(tiny.target[::4])) > 0.95


@pytest.mark.parametrize(("side", "least"), [(12, 0.92), (16, 0.95)])
def test_reduced_images_of_mnist_are_read(published_model, digits, side, least):
    images = [
        np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BOX))
        for (grey,) in digits.images[::3].numpy()
    ]
    assert fraction_read(published_model, images, digits.labels[::3]) > least


@pytest.mark.parametrize("side", [2, 9])
def test_an_image_of_blocks_is_the_image_of_their_pixels(side):
    image = load_digits().images[0][:, 1:] * 15
    assert (preprocess(np.kron(image, np.ones((side, side)))) == preprocess(image)).all()


def test_objects_without_strokes_are_not_enlarged_first():
    image = np.zeros((8, 8), np.uint8)
    image[2:6, 2:6] = 200
    (pixels,) = preprocess(np.kron(image, np.ones((6, 6))), strokes=False)
    assert (pixels[5:23, 5:23] == 200).all()


def test_objects_without_strokes_keep_their_grey_levels():
    product = Image.new("L", (200, 240), 255)
    ImageDraw.Draw(product).rectangle((60, 40, 139, 119), fill=30)
    ImageDraw.Draw(product).rectangle((60, 120, 139, 199), fill=190)
    (pixels,) = preprocess(product, object_size=28, strokes=False)
    assert set(pixels[1:13, 11:17].flat) == {225}
    assert set(pixels[15:27, 11:17].flat) == {65}


@on_fashion
def test_products_on_paper_look_like_those_of_fashion_mnist():
    wanted = DESCRIPTIONS["FashionMNIST"].object
    content = gzip.decompress((FASHION / "t10k-images-idx3-ubyte.gz").read_bytes())
    correlations = []
    for product in idx.decode_array(content, "images")[::100]:
        image = Image.new("L", (300, 260), 255)
        enlarged = Image.fromarray(255 - product).resize((196, 196), Image.Resampling.BICUBIC)
        image.paste(enlarged, (60, 30))
        pixels = preprocess(image, object_size=wanted.size, strokes=wanted.strokes)
        correlations.append(np.corrcoef(pixels.ravel(), product.ravel())[0, 1])
    assert np.median(correlations) > 0.85  # with the object size of a digit, 0.5
