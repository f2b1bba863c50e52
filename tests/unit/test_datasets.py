"""The real data sets: the digests of their files, and what is known to be in them."""

import gzip
import hashlib

from mnist_cnn.datasets import arrays, sources
from mnist_cnn.datasets.params import Download
from mnist_cnn.learning import data

import numpy as np
import pytest
import torch
import torchvision
from described import DESCRIPTIONS, mnist
from examples import FASHION, on_fashion


def test_the_digests_are_those_of_mnist():
    for split in arrays.SPLITS:
        digest = getattr(DESCRIPTIONS["MNIST"].digests, split)
        assert arrays.read(split, mnist()).digest() == digest


@on_fashion
def test_the_digests_are_those_of_fashion_mnist(tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_DIR", str(FASHION))
    download = Download(dataset="FashionMNIST", sources=("folder",), timeout=60)
    sources.make(DESCRIPTIONS["FashionMNIST"], download, tmp_path, print)
    assert data.load("train", tmp_path).labels.bincount().tolist() == [6000] * 10
    assert data.load("test", tmp_path).labels.bincount().tolist() == [1000] * 10


@on_fashion
def test_debian_has_the_fashion_mnist_of_torchvision_with_other_headers():
    for name, md5 in torchvision.datasets.FashionMNIST.resources:
        debian = (FASHION / name).read_bytes()
        # The original gzip header has a time on 31 August 2017 and the name of the file.
        time = (1504176606 if name.startswith("train") else 1504176627).to_bytes(4, "little")
        file_name = name.removesuffix(".gz").encode() + b"\0"
        original = b"\x1f\x8b\x08\x08" + time + debian[8:10] + file_name + debian[10:]
        assert hashlib.md5(original).hexdigest() == md5
        assert gzip.decompress(original) == gzip.decompress(debian)


@pytest.fixture(scope="module")
def splits(real_train):
    return {"train": real_train, "test": data.load("test", mnist())}


@pytest.mark.parametrize(
    ("split", "counts"),
    [
        ("train", [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ("test", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
    ],
)
def test_mnist_has_the_published_class_counts(splits, split, counts):
    assert splits[split].images.shape == (sum(counts), 1, 28, 28)
    assert splits[split].labels.bincount().tolist() == counts


def test_mnist_has_the_published_mean_and_standard_deviation(real_train):
    counts = real_train.images.flatten().bincount(minlength=256)
    pixels = np.arange(256) / 255
    mean = np.average(pixels, weights=counts)
    variance = np.average((pixels - mean) ** 2, weights=counts)
    assert (mean, variance**0.5) == pytest.approx((0.1307, 0.3081), abs=5e-5)


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_image_of_mnist_is_bright_on_black_with_its_centre_of_mass_in_the_middle(
    splits, split
):
    images = splits[split].images
    assert images.amax((1, 2, 3)).min() > 128
    assert (images.amin((1, 2, 3)) == 0).all()
    positions = torch.arange(28) - 14.0
    for axis in (2, 3):
        profile = images.sum((1, axis)).float()
        centre = (profile * positions).sum(1) / profile.sum(1)
        assert centre.abs().max() < 1.5
