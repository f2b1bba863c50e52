"""Reading, splitting and augmenting digits, and what the real data set holds."""

import hashlib
import math
from pathlib import Path

from mnist_cnn import data, sources
from mnist_cnn.data import Digits
from mnist_cnn.errors import UserError

import numpy as np
import pytest
import torch
from examples import idx
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from scipy.stats import kstest
from torch.nn.functional import pad
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

RAW = Path(__file__).parents[1] / data.folder("MNIST")


IMAGES = idx(np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28))
LABELS = idx(np.array([9, 0], np.uint8))


def test_idx_of_two_rows_is_read_as_they_are_written():
    content = b"\0\0\x08\x02" + b"\0\0\0\x02" + b"\0\0\0\x03" + b"\x01\x02\x03\x04\x05\xff"
    assert data.parse_idx(content, "rows").tolist() == [[1, 2, 3], [4, 5, 255]]


def test_idx_sizes_are_big_endian():
    assert data.parse_idx(b"\0\0\x08\x01" + b"\0\0\x01\x02" + bytes(258), "zeros").shape == (258,)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "not an IDX file", id="empty"),
        pytest.param(b"\0\0\x08", "not an IDX file", id="within the magic number"),
        pytest.param(b"<html>", "not an IDX file", id="HTML"),
        pytest.param(b"\x08\0\0\x01\0\0\0\x01\x07", "not an IDX file", id="wrong magic number"),
        pytest.param(b"\0\0\x0d\x01\0\0\0\x01\x07", "not an IDX file", id="of floats"),
        pytest.param(b"\0\0\x08\x01", "truncated in its header", id="magic number only"),
        pytest.param(b"\0\0\x08\x02\0\0\0\x01\0\0", "truncated in its header", id="half a size"),
        pytest.param(
            b"\0\0\x08\x01\0\0\0\x02", "8 bytes, where its header promises 10", id="header only"
        ),
        pytest.param(
            b"\0\0\x08\x01\0\0\0\x02\x07", "9 bytes, where its header promises 10", id="truncated"
        ),
        pytest.param(
            b"\0\0\x08\x01\0\0\0\x01\x07\x07",
            "10 bytes, where its header promises 9",
            id="trailing",
        ),
    ],
)
def test_faulty_idx_is_refused_by_name(content, reason):
    with pytest.raises(UserError, match=f"^labels: {reason}"):
        data.parse_idx(content, "labels")


@given(arrays(np.uint8, st.just(()) | array_shapes(max_dims=5, min_side=0, max_side=4)))
def test_every_array_survives_idx(array):
    parsed = data.parse_idx(idx(array), "array")
    assert parsed.dtype == np.uint8
    assert parsed.shape == array.shape
    assert (parsed == array).all()


@st.composite
def almost_idx(draw):
    sizes = draw(st.lists(st.sampled_from([0, 1, 2, 3, 2**31, 2**32 - 1]), max_size=70))
    header = bytes([0, 0, 8, draw(st.just(len(sizes)) | st.integers(0, 255))])
    return header + np.array(sizes, ">u4").tobytes() + draw(st.binary(max_size=16))


@given(st.binary() | almost_idx())
@example(b"\0\0\x08\x41" + b"\0\0\0\x01" * 65 + b"x")
@example(b"\0\0\x08\x03" + b"\0\0\0\0" + b"\xff" * 8)
def test_any_bytes_are_idx_or_refused(content):
    try:
        parsed = data.parse_idx(content, "bytes")
    except UserError:
        return
    assert idx(parsed) == content


def test_digits_are_pixels_with_a_channel_and_labels():
    digits = data.parse_digits(IMAGES, LABELS, "test")
    assert digits.images.dtype == torch.uint8
    assert digits.images.shape == (2, 1, 28, 28)
    assert digits.images[0, 0, 1, :3].tolist() == [28, 29, 30]
    assert digits.images[1, 0, 0, 0] == 784 % 256
    assert digits.labels.dtype == torch.int64
    assert digits.labels.tolist() == [9, 0]


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        pytest.param(IMAGES[:-1], LABELS, "test images: 1583 bytes", id="truncated images"),
        pytest.param(IMAGES, LABELS + b"\0", "test labels: 11 bytes", id="trailing label"),
        pytest.param(LABELS, IMAGES, r"test images: shape \(2,\)", id="files exchanged"),
        pytest.param(
            idx(np.zeros((2, 28, 27), np.uint8)),
            LABELS,
            r"test images: shape \(2, 28, 27\)",
            id="27",
        ),
        pytest.param(
            IMAGES, idx(np.zeros(3, np.uint8)), r"test: 2 images but labels of shape \(3,\)", id="3"
        ),
        pytest.param(
            IMAGES,
            idx(np.zeros((2, 1), np.uint8)),
            r"test: 2 images but labels of shape \(2, 1\)",
            id="labels in a table",
        ),
        pytest.param(
            IMAGES,
            idx(np.array([0, 10], np.uint8)),
            "test labels: found 10, expected 0 to 9",
            id="label 10",
        ),
    ],
)
def test_faulty_digits_are_refused_by_name(images, labels, reason):
    with pytest.raises(UserError, match=f"^{reason}"):
        data.parse_digits(images, labels, "test")


@given(
    st.sampled_from(["images", "labels"]),
    st.integers(0, 40),
    st.binary(max_size=3),
    st.integers(0, 3),
)
def test_damaged_digits_are_digits_or_refused(which, start, replacement, removed):
    contents = {"images": IMAGES, "labels": LABELS}
    whole = contents[which]
    contents[which] = whole[:start] + replacement + whole[start + removed :]
    try:
        digits = data.parse_digits(**contents, name="test")
    except UserError:
        return
    assert digits.images.shape == (2, 1, 28, 28)
    assert set(digits.labels.tolist()) <= set(range(10))


def write_split(folder, split, images=IMAGES, labels=LABELS):
    for path, content in zip(data.paths(split, folder), (images, labels), strict=True):
        path.write_bytes(content)


def test_a_split_is_loaded_without_the_other(tmp_path):
    write_split(tmp_path, "train")
    assert data.load("train", tmp_path).labels.tolist() == [9, 0]


@pytest.mark.parametrize("missing", [0, 1], ids=["images", "labels"])
def test_a_missing_file_is_named(tmp_path, missing):
    write_split(tmp_path, "test")
    path = data.paths("test", tmp_path)[missing]
    path.unlink()
    with pytest.raises(UserError, match="missing") as caught:
        data.load("test", tmp_path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_what_was_downloaded_is_refused(tmp_path):
    write_split(tmp_path, "test", images=b"<html>")
    with pytest.raises(UserError, match=r"^test images: not an IDX file"):
        data.load("test", tmp_path)


LABEL_LISTS = st.lists(st.integers(0, 9), max_size=300).map(
    lambda labels: torch.tensor(labels).long()
)
SEEDS = st.integers(0, 2**32 - 1)


@given(LABEL_LISTS, SEEDS)
def test_stratified_order_is_a_permutation(labels, seed):
    assert sorted(data.stratified_order(labels, seed).tolist()) == list(range(len(labels)))


@given(LABEL_LISTS, SEEDS)
def test_every_prefix_has_the_proportions_of_the_whole(labels, seed):
    ordered = labels[data.stratified_order(labels, seed)].numpy()
    total = len(ordered)
    prefix = np.arange(1, total + 1)
    for label in range(10):
        members = (ordered == label).sum()
        expected = prefix * members / max(total, 1)
        # At t of the way each class is within ½ of its t-th part, the ten together within 5 of k.
        allowed = 0.5 + 5 * members / max(total, 1)
        assert (np.abs((ordered == label).cumsum() - expected) <= allowed + 1e-9).all()


@given(LABEL_LISTS, SEEDS)
def test_stratified_order_is_the_same_for_the_same_seed(labels, seed):
    first = data.stratified_order(labels, seed)
    torch.rand(1)
    assert torch.equal(first, data.stratified_order(labels, seed))


def test_stratified_order_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    data.stratified_order(torch.arange(10), 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_any_example_may_come_first():
    labels = torch.arange(30) % 10
    firsts = {data.stratified_order(labels, seed)[0].item() for seed in range(500)}
    assert firsts == set(range(30))


def numbered(count):
    """Digits whose first pixels tell their place."""
    images = torch.zeros(count, 1, 28, 28, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(count) // 256
    images[:, 0, 0, 1] = torch.arange(count) % 256
    generator = torch.Generator().manual_seed(7)
    return Digits(images, torch.randint(10, (count,), generator=generator))


def places(digits):
    return (256 * digits.images[:, 0, 0, 0].int() + digits.images[:, 0, 0, 1].int()).tolist()


def test_subsets_are_disjoint_and_of_the_sizes_asked_for():
    first, second = data.subset(numbered(1000), (300, 200), seed=3)
    assert (len(first.labels), len(second.labels)) == (300, 200)
    assert len({*places(first), *places(second)}) == 500


def test_subsets_keep_images_with_their_labels_in_the_order_of_the_whole():
    whole = numbered(1000)
    for part in data.subset(whole, (300, 200), seed=3):
        assert places(part) == sorted(places(part))
        assert torch.equal(part.labels, whole.labels[places(part)])


def test_subsets_are_stratified():
    whole = numbered(1000)
    shares = whole.labels.bincount() / 1000
    for part in data.subset(whole, (500, 100), seed=3):
        size = len(part.labels)
        assert (part.labels.bincount(minlength=10) - size * shares).abs().max() <= 3


def test_subsets_depend_on_the_seed_alone():
    whole = numbered(1000)
    first, again, other = (places(data.subset(whole, (300,), seed)[0]) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_subsets_are_copies():
    whole = numbered(20)
    (part,) = data.subset(whole, (20,), seed=0)
    part.images.zero_()
    assert places(whole) == list(range(20))


def test_more_examples_than_there_are_is_refused():
    data.subset(numbered(10), (6, 4), seed=0)
    with pytest.raises(UserError, match=r"^6 \+ 5 examples asked for, of 10$"):
        data.subset(numbered(10), (6, 5), seed=0)


@pytest.fixture(scope="module")
def test_split():
    return data.load("test", RAW)


INTERPOLATIONS = pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])


@INTERPOLATIONS
@pytest.mark.parametrize("rotation", [0, 1e-6])
def test_without_rotation_and_translation_nothing_moves(test_split, interpolation, rotation):
    images = test_split.images[:100]
    same = data.augment(images, rotation=rotation, translation=0, interpolation=interpolation)
    assert torch.allclose(same, images.float(), atol=0.01)


def test_where_nothing_is_to_move_no_random_numbers_are_drawn(test_split):
    before = torch.get_rng_state()
    data.augment(test_split.images[:5], rotation=0, translation=0)
    assert torch.equal(torch.get_rng_state(), before)


@given(
    arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9)),
    st.floats(0, 180),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(["nearest", "bilinear"]),
)
def test_augmented_images_keep_shape_and_range(pixels, rotation, translation, interpolation):
    images = torch.from_numpy(pixels).unsqueeze(1)
    turned = data.augment(
        images, rotation=rotation, translation=translation, interpolation=interpolation
    )
    assert turned.dtype == torch.float32
    assert turned.shape == images.shape
    assert turned.min() >= 0
    assert turned.max() <= images.max() + 1e-3
    if interpolation == "nearest":
        assert set(turned.unique().tolist()) <= {0.0, *images.unique().tolist()}


def test_a_row_shifted_by_whole_pixels_is_followed_by_black():
    row = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(400, 1, 1, 4)
    torch.manual_seed(0)
    shifted = data.augment(row, rotation=0, translation=0.5)
    seen = {tuple(image) for image in shifted.view(400, 4).tolist()}
    # The one row is itself shifted out when the vertical shift is exactly half of it.
    assert seen - {(0, 0, 0, 0)} == {
        (30, 40, 0, 0),
        (20, 30, 40, 0),
        (10, 20, 30, 40),
        (0, 10, 20, 30),
        (0, 0, 10, 20),
    }


def test_columns_are_shifted_by_a_fraction_of_the_height():
    column = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).view(1, 1, 4, 1).expand(400, 1, 4, 2)
    torch.manual_seed(0)
    shifted = data.augment(column, rotation=0, translation=0.25)
    seen = {tuple(column) for column in shifted.permute(0, 3, 1, 2).reshape(800, 4).tolist()}
    assert seen - {(0, 0, 0, 0)} == {(20, 30, 40, 0), (10, 20, 30, 40), (0, 10, 20, 30)}


def retold(image, angle, x, y, interpolation):
    """One image, turned counterclockwise by degrees and then shifted left and up by pixels."""
    turned = transforms.affine(
        Image.fromarray(image.squeeze().numpy()),
        angle=-angle,
        translate=[-x, -y],
        scale=1,
        shear=[0, 0],
        interpolation=InterpolationMode(interpolation),
    )
    return torch.from_numpy(np.array(turned)).unsqueeze(0)


@pytest.mark.parametrize(
    ("rotation", "translation"),
    [
        pytest.param(180, 0, id="turned"),
        pytest.param(0, 0.2, id="shifted"),
        pytest.param(45, 0.1, id="turned and shifted"),
    ],
)
@INTERPOLATIONS
def test_a_batch_is_augmented_as_torchvision_would_each_image(
    test_split, rotation, translation, interpolation
):
    images = pad(test_split.images[:200], (4, 4))  # to a width of 36, so that it is not the height
    torch.manual_seed(5)
    batch = data.augment(
        images, rotation=rotation, translation=translation, interpolation=interpolation
    )
    torch.manual_seed(5)
    amounts = zip(*(torch.rand(3, 200) * 2 - 1).tolist(), strict=True)
    one_by_one = torch.stack(
        [
            retold(
                image, turn * rotation, x * translation * 36, y * translation * 28, interpolation
            )
            for image, (turn, x, y) in zip(images, amounts, strict=True)
        ]
    )
    # A grey level is lost in rounding, and a pixel halfway between two may be taken for either.
    differs = (batch - one_by_one).abs() > 1.5
    assert differs.float().mean() < 1e-3


def dots(count, x=0.0, y=0.0):
    """Images of a round dot with its centre at pixels (x, y) from that of the image."""
    place = torch.arange(28) - 13.5
    dot = torch.exp(-((place - x) ** 2) / 4) * torch.exp(-((place[:, None] - y) ** 2) / 4)
    return (255 * dot).expand(count, 1, 28, 28)


def centroids(images):
    """The centres (x, y) of what is in each image, in pixels from the centre of the image."""
    place = torch.arange(28) - 13.5
    masses = images.sum((1, 2, 3))
    across = (images.sum((1, 2)) * place).sum(1) / masses
    down = (images.sum((1, 3)) * place).sum(1) / masses
    return across.numpy(), down.numpy()


@pytest.mark.parametrize("rotation", [0, 90], ids=["upright", "turned"])
def test_shifts_are_independent_and_uniform(rotation):
    torch.manual_seed(11)
    shifted = data.augment(dots(4000), rotation=rotation, translation=0.1, interpolation="bilinear")
    across, down = centroids(shifted)
    for shift in (across, down):
        assert np.abs(shift).max() <= 2.8 + 0.05
        assert kstest(shift, "uniform", (-2.8, 5.6)).pvalue > 0.001
    assert abs(np.corrcoef(across, down)[0, 1]) < 0.05


def test_angles_are_uniform():
    torch.manual_seed(12)
    turned = data.augment(dots(4000, x=8), rotation=30, translation=0, interpolation="bilinear")
    across, down = centroids(turned)
    angles = np.degrees(np.arctan2(down, across))
    assert np.abs(angles).max() <= 30 + 0.1
    assert kstest(angles, "uniform", (-30, 60)).pvalue > 0.001
    assert np.hypot(across, down) == pytest.approx(8, abs=0.05)


def test_angle_and_shifts_are_independent():
    torch.manual_seed(13)
    turn = {"rotation": 2, "translation": 0.1, "interpolation": "bilinear"}
    middle = centroids(data.augment(dots(4000), **turn))
    torch.manual_seed(13)
    right = centroids(data.augment(dots(4000, x=8), **turn))
    angles = [
        math.atan2(y, x) for x, y in zip(right[0] - middle[0], right[1] - middle[1], strict=True)
    ]
    for shift in middle:
        assert abs(np.corrcoef(angles, shift)[0, 1]) < 0.05


def test_augmentation_is_drawn_from_the_global_generator(test_split):
    images = test_split.images[:8]
    torch.manual_seed(1)
    first, second = (data.augment(images, rotation=10, translation=0.1) for _ in range(2))
    torch.manual_seed(1)
    again = data.augment(images, rotation=10, translation=0.1)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


@pytest.fixture(scope="module")
def train_split():
    return data.load("train", RAW)


@pytest.fixture(params=["train", "test"])
def split(request, train_split, test_split):
    return train_split if request.param == "train" else test_split


CLASS_COUNTS = {
    60000: [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    10000: [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


def test_mnist_has_60000_and_10000_examples(train_split, test_split):
    assert train_split.images.shape == (60000, 1, 28, 28)
    assert test_split.images.shape == (10000, 1, 28, 28)


@pytest.mark.parametrize(("name", "sha256"), sources.SHA256["MNIST"].items())
def test_mnist_files_are_the_known_ones(name, sha256):
    assert hashlib.sha256((RAW / name).read_bytes()).hexdigest() == sha256


def test_mnist_has_the_known_class_counts(split):
    assert split.labels.bincount().tolist() == CLASS_COUNTS[len(split.labels)]


def test_mnist_pixels_have_the_known_mean_and_deviation(train_split):
    counts = sum(np.bincount(image.ravel(), minlength=256) for image in train_split.images.numpy())
    values = np.arange(256) / 255
    mean = np.average(values, weights=counts)
    assert mean == pytest.approx(0.1307, abs=5e-5)
    assert np.average((values - mean) ** 2, weights=counts) ** 0.5 == pytest.approx(
        0.3081, abs=5e-5
    )


def test_mnist_has_no_blank_image(split):
    brightest = split.images.amax((1, 2, 3))
    assert brightest.min() > 128
    assert (split.images.amin((1, 2, 3)) == 0).all()


def test_mnist_digits_are_centred_on_their_mass(split):
    place = torch.arange(28) - 14.0
    images = split.images.float()
    masses = images.sum((1, 2, 3))
    for axis in (2, 3):
        centres = (images.sum((1, axis)) * place).sum(1) / masses
        assert centres.abs().max() < 1.5
