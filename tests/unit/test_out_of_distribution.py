"""Each kind of unusual image is what its name says."""

from mnist_cnn.evaluation.out_of_distribution import COUNT, unusual_images

import pytest
import torch

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (30, 1, 28, 28), dtype=torch.uint8, generator=GENERATOR)


@pytest.fixture(scope="module")
def kinds():
    return unusual_images(IMAGES, "digit", seed=0)


def test_all_have_the_form_of_the_data_set(kinds):
    assert {(images.dtype, images.shape[1:]) for images in kinds.values()} == {
        (torch.uint8, (1, 28, 28))
    }
    colour = unusual_images(torch.zeros(9, 3, 12, 16, dtype=torch.uint8), "shape", seed=0)
    assert {images.shape[1:] for images in colour.values()} == {(3, 12, 16)}


def test_plain_kinds(kinds):
    levels = kinds["one grey level"].flatten(1)
    assert levels[:, 0].tolist() == list(range(256))
    assert (levels == levels[:, :1]).all()
    inverted = (255 - kinds["digits, inverted"]).flatten(1).unique(dim=0)  # in any order
    assert torch.equal(inverted, IMAGES.flatten(1).unique(dim=0))
    noise = kinds["uniform noise"]
    assert noise.unique().tolist() == list(range(256))
    assert noise.float().mean() == pytest.approx(127.5, abs=1)


def test_letters_are_drawn_in_the_middle(kinds):
    letters = kinds["letters"].float()
    assert len(letters.flatten(1).unique(dim=0)) > 50
    assert letters.amax((1, 2, 3)).min() > 200
    assert letters[..., 0].max() == 0, "cut off"
    rows = torch.arange(28.0)
    centre = (letters.sum((0, 1, 3)) * rows).sum() / letters.sum()
    assert centre == pytest.approx(13.5, abs=1.5)


def test_two_digits_are_side_by_side(kinds):
    pairs = kinds["two digits"]
    halves = torch.cat([(IMAGES[..., ::2].float() + IMAGES[..., 1::2].float()) / 2])
    left, right = pairs[..., :14].float(), pairs[..., 14:].float()
    for half in (left, right):
        distances = (half[:, None] - halves[None]).abs().amax((2, 3, 4))
        assert distances.amin(1).max() <= 0.5
    assert len(pairs) == COUNT


def test_the_seed_decides_the_random_kinds(kinds):
    same, other = (unusual_images(IMAGES, "digit", seed=seed) for seed in (0, 1))
    for kind in ("uniform noise", "letters", "two digits"):
        assert torch.equal(kinds[kind], same[kind])
        assert not torch.equal(kinds[kind], other[kind])
