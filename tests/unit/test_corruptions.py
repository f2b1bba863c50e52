"""Corruptions change images as their names say, within the range, and the same each time."""

from mnist_cnn.evaluation.corruptions import CORRUPTIONS, corrupt

import pytest
import torch


def bar(channels=1, size=28):
    """Two images: an upright bar, and a square."""
    images = torch.zeros(2, channels, size, size, dtype=torch.uint8)
    images[0, :, size // 5 : -(size // 5), size // 2 - 1 : size // 2 + 1] = 255
    images[1, :, size // 3 : -(size // 3), size // 3 : -(size // 3)] = 255
    return images


@pytest.fixture(scope="module")
def corrupted():
    return dict(corrupt(bar(), seed=0))


def test_there_are_the_fifteen_of_the_paper(corrupted):
    assert list(corrupted) == [change.__name__ for change in CORRUPTIONS]
    assert len(corrupted) == 15


@pytest.fixture(scope="module")
def again():
    return dict(corrupt(bar(), seed=0))


@pytest.fixture(scope="module")
def coloured():
    return dict(corrupt(bar(3, 32), seed=0))


@pytest.mark.parametrize("name", [change.__name__ for change in CORRUPTIONS])
def test_every_corruption_changes_every_image_of_any_form(name, corrupted, again, coloured):
    assert corrupted[name].dtype == torch.uint8
    assert (corrupted[name] != bar()).flatten(1).any(1).all()
    assert torch.equal(corrupted[name], again[name])
    assert coloured[name].shape == (2, 3, 32, 32)


def mass(images):
    return images.float().sum((1, 2, 3))


def extent(images):
    """The height of what is brighter than half."""
    rows = (images > 127).any(3).flatten(1)
    return rows.sum(1)


def test_geometric_corruptions_keep_or_scale_the_strokes(corrupted):
    for name in ("shear", "rotate", "translate", "motion_blur"):
        assert mass(corrupted[name]) == pytest.approx(mass(bar()), rel=0.05)
    assert mass(corrupted["scale"]) == pytest.approx(mass(bar()) / 4, rel=0.05)
    assert extent(corrupted["scale"])[1] == pytest.approx(extent(bar())[1] / 2, abs=1)
    # An upright bar that is rotated by 30° is about cos 30° as high.
    assert extent(corrupted["rotate"])[0] == pytest.approx(0.87 * extent(bar())[0], abs=1)


def centre(images):
    """The column and the row of the centre of mass."""
    weights = images.float().sum(1)
    means = [
        (weights.sum(others) * torch.arange(weights.shape[axis])).sum(1)
        for axis, others in ((2, 1), (1, 2))
    ]
    return torch.stack(means, 1) / mass(images)[:, None]


def test_only_a_translation_moves_the_centre(corrupted):
    for name in ("shear", "scale", "rotate", "motion_blur"):
        torch.testing.assert_close(centre(corrupted[name]), centre(bar()), rtol=0, atol=0.2)
    moved = (centre(corrupted["translate"]) - centre(bar())).norm(dim=1)
    torch.testing.assert_close(moved, torch.full((2,), 0.15 * 28), rtol=0.01, atol=0)


def test_lengths_are_fractions_of_width_and_height():
    image = torch.zeros(1, 1, 24, 40, dtype=torch.uint8)
    image[0, 0, 11:13, 12:28] = 255
    changed = dict(corrupt(image, seed=0))
    moved = (centre(changed["translate"]) - centre(image)) / torch.tensor([40, 24])
    assert float(moved.norm()) == pytest.approx(0.15, rel=0.02)
    # 16 × 2 pixels at 30° are 16 sin 30° + 2 cos 30° high.
    assert extent(changed["rotate"])[0] == pytest.approx(9.7, abs=1)


def test_motion_blur_spreads_a_stroke(corrupted):
    assert corrupted["motion_blur"][0].max() < 255
    assert (corrupted["motion_blur"][0] > 0).sum() > 2 * (bar()[0] > 0).sum()


def test_other_corruptions_do_what_they_say(corrupted):
    image = bar()
    assert torch.equal(corrupted["brightness"], (image.int() + 128).clamp(max=255).byte())
    assert corrupted["stripe"][0, 0, 0].tolist() == [0] * 11 + [255] * 6 + [0] * 11
    changed = (corrupted["impulse_noise"] != image).float().mean()
    assert 0.05 < changed < 0.2  # half of the noise is black, as most of the image
    for name in ("spatter", "dotted_line", "zigzag"):
        assert (corrupted[name] >= image).all()
    lines = corrupted["zigzag"][..., [0, -1]].amax((1, 2))
    assert lines.min() > 127  # from side to side
    edges = corrupted["canny_edges"]
    assert set(edges.unique().tolist()) == {0, 255}
    assert edges[1, 0, 14, 14] == 0  # inside of the square
