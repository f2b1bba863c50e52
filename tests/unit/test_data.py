"""Examples as tensors: loading, stratified order, subsets."""

from mnist_cnn.errors import UserError
from mnist_cnn.learning import data
from mnist_cnn.learning.data import Examples

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

LABELS = st.lists(st.integers(0, 9), max_size=300).map(lambda labels: torch.tensor(labels).long())
SEEDS = st.integers(0, 2**32 - 1)


@given(LABELS, SEEDS)
def test_stratified_order_is_a_permutation_that_depends_on_the_seed_alone(labels, seed):
    order = data.stratified_order(labels, seed)
    assert sorted(order.tolist()) == list(range(len(labels)))
    torch.rand(1)
    before = torch.get_rng_state()
    assert torch.equal(order, data.stratified_order(labels, seed))
    assert torch.equal(torch.get_rng_state(), before)


@given(LABELS.filter(len), SEEDS)
def test_every_prefix_has_the_class_proportions_of_all(labels, seed):
    ordered = labels[data.stratified_order(labels, seed)].numpy()
    total = len(ordered)
    for label in range(10):
        share = (ordered == label).sum() / total
        counts = (ordered == label).cumsum()
        # At a fraction t of the way, each class is within ½ of t times its size, so the ten
        # together are within 5 of t times the total.
        allowed = 0.5 + 5 * share
        assert (np.abs(counts - np.arange(1, total + 1) * share) <= allowed + 1e-9).all()


def test_any_example_can_be_the_first():
    labels = torch.arange(30) % 10
    firsts = {data.stratified_order(labels, seed)[0].item() for seed in range(500)}
    assert firsts == set(range(30))


def numbered(count):
    """Examples with random labels; the first two pixels of an image are its index."""
    index = torch.arange(count)
    images = torch.zeros(count, 1, 28, 28, dtype=torch.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = index // 256, index % 256
    return Examples(images, torch.randint(10, (count,), generator=torch.Generator().manual_seed(7)))


def indices(part):
    return (256 * part.images[:, 0, 0, 0].int() + part.images[:, 0, 0, 1].int()).tolist()


def test_subsets_are_disjoint_stratified_and_in_the_order_of_the_whole():
    whole = numbered(1000)
    share = whole.labels.bincount() / 1000
    parts = data.subset(whole, (500, 100), seed=3)
    assert [len(part.labels) for part in parts] == [500, 100]
    assert len({index for part in parts for index in indices(part)}) == 600
    for part in parts:
        assert indices(part) == sorted(indices(part))
        assert torch.equal(part.labels, whole.labels[indices(part)])
        assert (part.labels.bincount(minlength=10) - len(part.labels) * share).abs().max() <= 3


def test_another_seed_gives_other_subsets():
    first, again, other = (
        indices(*data.subset(numbered(1000), (300,), seed)) for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_subsets_are_copies():
    whole = numbered(20)
    (part,) = data.subset(whole, (19,), seed=0)
    part.images.zero_()
    assert indices(whole) == list(range(20))


def test_all_means_the_examples_that_are_left():
    whole = numbered(20)
    train, validation = data.subset(whole, ("all", 4), seed=0)
    assert (len(train.labels), len(validation.labels)) == (16, 4)
    assert data.subset(whole, ("all",), seed=0)[0].images is whole.images
    with pytest.raises(UserError, match=r"^all \+ 20 examples wanted, but there are 20$"):
        data.subset(whole, ("all", 20), seed=0)


def test_more_examples_than_there_are_is_an_error():
    data.subset(numbered(10), (6, 4), seed=0)
    with pytest.raises(UserError, match=r"^6 \+ 5 examples wanted, but there are 10$"):
        data.subset(numbered(10), (6, 5), seed=0)


def test_the_digest_depends_on_images_labels_and_order():
    whole = numbered(10)
    others = (
        Examples(whole.images, whole.labels.flip(0)),
        Examples(whole.images.flip(0), whole.labels),
        whole.select(torch.arange(9)),
    )
    assert len({part.digest() for part in (whole, numbered(10), *others)}) == 4
