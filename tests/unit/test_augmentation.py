"""Augmentations: what moves where, and how the amounts are distributed."""

from functools import partial

from mnist_cnn.learning import data
from mnist_cnn.learning.augmentation import AUGMENTATIONS, Affine, FlipCrop, Photometric

import numpy as np
import pytest
import torch
from described import mnist
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from hypothesis.extra.numpy import arrays as random_arrays
from PIL import Image
from scipy.stats import kstest
from torch.nn.functional import pad
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

INTERPOLATIONS = ["nearest", "bilinear"]


def augment(images, **options):
    return Affine(**options)(images)


smooth = partial(augment, interpolation="bilinear")


@pytest.fixture(scope="module")
def images():
    """The first 200 images of the test set."""
    return data.load("test", mnist()).images[:200]


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("rotation", [0, 1e-6])
def test_without_rotation_and_translation_nothing_moves(images, interpolation, rotation):
    same = augment(images, rotation=rotation, translation=0, interpolation=interpolation)
    torch.testing.assert_close(same, images.float(), atol=0.01, rtol=0)


def test_without_rotation_and_translation_no_random_number_is_drawn(images):
    before = torch.get_rng_state()
    augment(images, rotation=0, translation=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_cutout_blackens_a_square_whose_centre_is_uniform_over_the_image():
    torch.manual_seed(4)
    white = torch.full((5_000, 3, 10, 14), 255, dtype=torch.uint8)
    black = augment(white, rotation=0, translation=0, cutout=4) == 0

    assert torch.equal(black[:, 0], black[:, 2])
    rows, columns = black[:, 0].any(2).sum(1), black[:, 0].any(1).sum(1)
    assert torch.equal(black[:, 0].sum((1, 2)), rows * columns)  # a rectangle
    # Inside, the square is whole; at an edge, it loses up to half.
    for lengths, side in ((rows, 10), (columns, 14)):
        shares = torch.bincount(lengths, minlength=5) / len(lengths)
        expected = torch.tensor([0, 0, 1, 2, side - 3]) / side
        torch.testing.assert_close(shares, expected, atol=0.03, rtol=0)


def test_random_numbers_come_from_the_global_generator(images):
    torch.manual_seed(1)
    first, second = (augment(images, rotation=10, translation=0.1) for _ in range(2))
    torch.manual_seed(1)
    assert torch.equal(augment(images, rotation=10, translation=0.1), first)
    assert not torch.equal(second, first)


@given(
    random_arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9)),
    st.floats(0, 180),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(INTERPOLATIONS),
)
def test_shape_and_range_are_kept(pixels, rotation, translation, interpolation):
    images = torch.from_numpy(pixels).unsqueeze(1)
    augmented = augment(
        images, rotation=rotation, translation=translation, interpolation=interpolation
    )
    assert augmented.dtype == torch.float32
    assert augmented.shape == images.shape
    assert augmented.min() >= 0
    assert augmented.max() <= images.max() + 1e-3
    if interpolation == "nearest":
        assert set(augmented.unique().tolist()) <= {0.0, *images.unique().tolist()}


def test_a_row_is_translated_by_up_to_half_its_width_and_filled_with_black():
    row = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(400, 1, 1, 4)
    torch.manual_seed(0)
    translated = augment(row, rotation=0, translation=0.5).view(400, 4)
    # The only row leaves the image if its vertical shift is exactly half its height.
    assert {tuple(image) for image in translated.tolist()} - {(0, 0, 0, 0)} == {
        (30, 40, 0, 0),
        (20, 30, 40, 0),
        (10, 20, 30, 40),
        (0, 10, 20, 30),
        (0, 0, 10, 20),
    }


def torchvision_affine(image, angle, x, y, interpolation):
    """An image, rotated counterclockwise by degrees, then translated left and up by pixels."""
    result = transforms.affine(
        Image.fromarray(image.squeeze().numpy()),
        angle=-angle,
        translate=[-x, -y],
        scale=1,
        shear=[0, 0],
        interpolation=InterpolationMode(interpolation),
    )
    return torch.from_numpy(np.array(result)).unsqueeze(0)


@pytest.mark.parametrize(
    ("rotation", "translation"),
    [(180, 0), (0, 0.2), (45, 0.1)],
    ids=["rotate", "translate", "both"],
)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_batch_is_augmented_as_each_image_is_by_torchvision(
    images, rotation, translation, interpolation
):
    height, width = 28, 36
    oblong = pad(images, (4, 4))
    torch.manual_seed(5)
    batch = augment(oblong, rotation=rotation, translation=translation, interpolation=interpolation)
    torch.manual_seed(5)
    angle, x, y = (torch.rand(3, len(images)) * 2 - 1).tolist()
    one_by_one = torch.stack(
        [
            torchvision_affine(
                image,
                angle[i] * rotation,
                x[i] * translation * width,
                y[i] * translation * height,
                interpolation,
            )
            for i, image in enumerate(oblong)
        ]
    )
    # Rounding can cost a grey level, and a position halfway between two pixels can be either.
    differs = (batch - one_by_one).abs() > 1.5
    assert differs.float().mean() < 1e-3


POSITIONS = torch.arange(28) - 13.5  # of the pixels, from the centre of the image


def dots(x=0.0):
    """4000 images of a round dot, `x` pixels to the right of the centre."""
    dot = torch.exp(-((POSITIONS - x) ** 2) / 4) * torch.exp(-(POSITIONS[:, None] ** 2) / 4)
    return (255 * dot).expand(4000, 1, 28, 28)


def centroids(images):
    """The centre of mass `(x, y)` of each image, in pixels from the centre of the image."""
    mass = images.sum((1, 2, 3))
    x = (images.sum((1, 2)) * POSITIONS).sum(1) / mass
    y = (images.sum((1, 3)) * POSITIONS).sum(1) / mass
    return np.stack([x.numpy(), y.numpy()])


def assert_uniform(values, limit, tolerance):
    assert np.abs(values).max() <= limit + tolerance
    assert kstest(values, "uniform", (-limit, 2 * limit)).pvalue > 0.001


@pytest.mark.parametrize("rotation", [0, 90])
def test_horizontal_and_vertical_shifts_are_uniform_and_independent(rotation):
    torch.manual_seed(11)
    x, y = centroids(smooth(dots(), rotation=rotation, translation=0.1))
    for shift in (x, y):
        assert_uniform(shift, 2.8, tolerance=0.05)
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.05


def test_angles_are_uniform_and_about_the_centre():
    torch.manual_seed(12)
    x, y = centroids(smooth(dots(x=8), rotation=30, translation=0))
    assert_uniform(np.degrees(np.arctan2(y, x)), 30, tolerance=0.1)
    assert np.hypot(x, y) == pytest.approx(8, abs=0.05)


def test_angles_and_shifts_are_independent():
    moved = []
    for x in (0, 8):
        torch.manual_seed(13)
        moved.append(centroids(smooth(dots(x), rotation=2, translation=0.1)))
    shifts, (dx, dy) = moved[0], moved[1] - moved[0]
    for shift in shifts:
        assert abs(np.corrcoef(np.arctan2(dy, dx), shift)[0, 1]) < 0.05


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_augmentation_takes_any_channels_and_is_decided_by_the_generator(name, channels):
    images = torch.randint(0, 256, (9, channels, 12, 20), dtype=torch.uint8)
    augmented = []
    for _ in range(2):
        torch.manual_seed(3)
        augmented.append(AUGMENTATIONS[name]()(images))

    assert torch.equal(*augmented)
    assert (augmented[0].dtype, augmented[0].shape) == (torch.float32, images.shape)
    assert augmented[0].min() >= 0
    assert augmented[0].max() <= 255.001


def photometric(images, seed=0, **strengths):
    """Images with the strengths that are given, and no other change."""
    none = {"rotation": 0, "translation": 0, "blur": 0, "levels": 0, "noise": 0}
    torch.manual_seed(seed)
    return Photometric(**none | strengths)(images)


def test_a_photometric_augmentation_begins_with_the_affine_one(images):
    assert torch.equal(photometric(images), images.float())
    moved = photometric(images, rotation=10, translation=0.1)
    torch.manual_seed(0)
    assert torch.equal(moved, augment(images, rotation=10, translation=0.1))


def test_blur_widens_an_image_by_a_uniform_amount_and_keeps_its_mass():
    blurred = photometric(dots(), blur=0.8)
    mass = blurred.sum((1, 2, 3))
    variance = (blurred.sum((1, 2)) * POSITIONS**2).sum(1) / mass
    before = (dots()[0, 0].sum(0) * POSITIONS**2).sum() / dots()[0].sum()

    torch.testing.assert_close(mass, dots().sum((1, 2, 3)))
    # The whole filter, of two steps with the weights 1 4 6 4 1, has a variance of 2.
    assert kstest((variance - before).numpy(), "uniform", (0, 1.6)).pvalue > 0.001


def test_levels_of_black_and_white_are_uniform_and_a_fifth_apart_at_least():
    images = torch.tensor([0.0, 255.0]).expand(4000, 1, 1, 2)
    black, white = (photometric(images, levels=0.8) / 255).view(4000, 2).unbind(1)
    assert (white - black).min() == pytest.approx(0.2)
    black, white = (photometric(images, levels=0.6) / 255).view(4000, 2).unbind(1)

    assert kstest(black.numpy(), "uniform", (0, 0.6)).pvalue > 0.001
    assert (white - black).min() == pytest.approx(0.2)
    apart = white - black > 0.2001
    assert white[apart].min() >= 0.4
    assert kstest(white[black < 0.1].numpy(), "uniform", (0.4, 0.6)).pvalue > 0.001


def test_noise_is_uniform_and_of_another_strength_in_each_image():
    grey = torch.full((1000, 1, 20, 20), 127.5)
    noise = (photometric(grey, noise=0.4).view(1000, 400) - 127.5) / 255

    strengths = noise.abs().amax(1)
    assert kstest(strengths.numpy(), "uniform", (0, 0.4)).pvalue > 0.001
    assert (
        kstest((noise / strengths[:, None])[:9].flatten().numpy(), "uniform", (-1, 2)).pvalue
        > 0.001
    )


def test_a_flip_exchanges_left_and_right_in_about_half_of_the_images():
    images = torch.arange(4.0).expand(1000, 3, 2, 4)
    torch.manual_seed(0)
    flipped = FlipCrop(padding=0)(images)

    mirrored = (flipped == images.flip(3)).all((1, 2, 3))
    assert (mirrored | (flipped == images).all((1, 2, 3))).all()
    assert 450 < mirrored.sum() < 550


def test_a_crop_shifts_each_image_by_whole_pixels_within_its_padding():
    images = torch.zeros(2000, 1, 9, 9)
    images[:, :, 4, 4] = 1
    torch.manual_seed(0)
    shifted = FlipCrop(padding=2, flip=False)(images)

    _, _, rows, columns = shifted.nonzero(as_tuple=True)
    assert len(rows) == 2000
    for positions in (rows, columns):
        assert positions.unique().tolist() == [2, 3, 4, 5, 6]
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.06
