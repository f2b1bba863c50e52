"""McNemar's exact test of predictions for the same images, with worked numbers."""

from mnist_cnn import files
from mnist_cnn.errors import UserError
from mnist_cnn.evaluation import paired_test
from mnist_cnn.evaluation.paired_test import PairedTest

import pytest


@pytest.fixture
def validated(tmp_path):
    """Predictions of images of class 1, for each seed a string with x for each mistake."""

    def read(*seeds, images="abcdefghijklmnop"):
        rows = [
            {"image": image, "label": 1}
            | {f"seed_{seed}": 7 if mark == "x" else 1 for seed, mark in enumerate(marks)}
            for image, marks in zip(images, zip(*seeds, strict=True), strict=False)
        ]
        files.write_csv(tmp_path / "predictions.csv", rows)
        return paired_test.read(tmp_path / "predictions.csv")

    return read


def test_the_accuracy_is_the_mean_over_networks(validated):
    both = validated("....x", "...xx")
    assert both.correct.tolist() == [1, 1, 1, 0.5, 0]
    assert both.accuracy == pytest.approx(0.7)
    assert both.seeds == 2


@pytest.mark.parametrize(
    ("newcomer", "champion", "expected"),
    [
        # p is the probability of at least so many heads in better + worse throws of a coin.
        ("..........", "..........", PairedTest(0, 0, 1.0)),
        ("xx........", "xx........", PairedTest(0, 0, 1.0)),
        ("x.........", "..........", PairedTest(0, 1, 1.0)),
        ("..........", "xxxx......", PairedTest(4, 0, 1 / 16)),
        ("..........", "xxxxx.....", PairedTest(5, 0, 1 / 32)),
        ("x.........", ".xxxxx....", PairedTest(5, 1, 7 / 64)),
        ("xxxxx.....", ".....x....", PairedTest(1, 5, 63 / 64)),
    ],
)
def test_only_images_that_one_of_the_two_gets_wrong_count(validated, newcomer, champion, expected):
    test = paired_test.compare(validated(newcomer), validated(champion))
    assert test == pytest.approx(expected)


def test_with_several_seeds_an_image_counts_once(validated):
    newcomer, champion = validated("....", "..x."), validated("x.xx", "x...")
    # Better on the first and the last image; on the third, both are right once in two.
    assert paired_test.compare(newcomer, champion) == (2, 0, 1 / 4)
    # One network against two.
    assert paired_test.compare(validated("...."), champion) == (3, 0, 1 / 8)
    assert str(paired_test.compare(newcomer, champion)) == (
        "better on 2 validation images, worse on 0, p = 0.25"
    )


def test_predictions_of_other_images_are_not_compared(validated):
    ours = validated("....")
    assert paired_test.compare(ours, validated("....", images="abcx")) is None
    assert paired_test.compare(ours, validated("...")) is None


def test_a_file_of_another_form_is_an_error(tmp_path):
    files.write_csv(tmp_path / "other.csv", [{"label": 1}])
    with pytest.raises(UserError, match=r"other\.csv: has no column 'image'"):
        paired_test.read(tmp_path / "other.csv")
