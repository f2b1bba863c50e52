"""The tests of predictions for the same or for other images, with worked numbers."""

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
    assert both.correct.tolist() == [2, 2, 2, 1, 0]
    assert both.accuracy == pytest.approx(0.7)
    assert both.seeds == 2


@pytest.mark.parametrize(
    ("challenger", "champion", "expected"),
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
def test_only_images_that_one_of_the_two_gets_wrong_count(
    validated, challenger, champion, expected
):
    test = paired_test.compare(validated(challenger), validated(champion))
    assert test == pytest.approx(expected)


def test_with_several_seeds_the_size_of_each_difference_counts(validated):
    challenger, champion = validated("....", "..x."), validated("x.xx", "x...")
    # Differences of 2 and 1 networks: of the four combinations of signs one is as high.
    assert paired_test.compare(challenger, champion) == (2, 0, 1 / 4)
    assert str(paired_test.compare(challenger, champion)) == (
        "better on 2 validation images, worse on 0, p = 0.25"
    )
    # 2 against 1 and 1: of the eight combinations of signs, three are 2 or 4, and two are 0.
    challenger, champion = validated(".x.", "..x"), validated("x..", "x..")
    assert paired_test.compare(challenger, champion) == (1, 2, 5 / 8)


def test_more_images_do_not_outweigh_a_lower_accuracy(validated):
    challenger = validated("." * 6 + "x" * 3, "." * 6 + "x" * 3, "." * 6 + "x" * 3)
    champion = validated("x" * 6 + "...", "." * 9, "." * 9)
    test = paired_test.compare(challenger, champion)
    assert challenger.accuracy < champion.accuracy
    assert (test.better, test.worse) == (6, 3)
    assert test.p_value > 0.5


def test_other_images_or_another_number_of_seeds_are_compared_by_fishers_test(validated):
    ours = validated("....")
    # 4 of 4 against 2 of 4: of C(8, 6) ways to have 6 correct, C(4, 4) C(4, 2) have 4 here.
    test = paired_test.compare(ours, validated("xx..", images="efgh"))
    assert test == pytest.approx((1.0, 4, 0.5, 4, 6 / 28))
    assert str(test) == ("100.00% of 4 validation images against 50.00% of 4, p = 0.21")
    assert paired_test.compare(ours, validated("...")).p_value == 1
    # Two seeds do not make two images of one, and their mean of 2.5 counts as 3 for the champion.
    test = paired_test.compare(ours, validated("xx..", "x..."))
    assert test == pytest.approx((1.0, 4, 0.625, 4, 4 / 8))


@pytest.mark.parametrize(
    "rows",
    [[], [{"label": 1}], [{"image": "a", "label": 1}], [{"label": 1, "image": "a", "seed_0": 1}]],
)
def test_a_file_of_another_form_is_an_error(tmp_path, rows):
    (tmp_path / "other.csv").touch()
    if rows:
        files.write_csv(tmp_path / "other.csv", rows)
    with pytest.raises(UserError, match=r"^other\.csv: expected rows with image, label, seed_0"):
        paired_test.read(tmp_path / "other.csv")
