"""What is to be told of MNIST and of the data sets that were made in its form.

All have 60,000 training and 10,000 test images, 28 × 28 grey pixels each, of ten classes.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetInfo:
    """The words for one data set."""

    name: str
    """As its makers write it."""
    model: str
    """The name of its networks in the model registry."""
    shown: str
    """What an image shows, as the object of "says which …"."""
    thing: str
    """One of it, a noun that takes "a" before it and "s" after it."""
    classes: tuple[str, ...]
    """Their names, by label."""
    box: int
    """Side, in pixels, of the square that one of it was scaled to fit."""
    strokes: bool
    """Whether it is one of ink, black or white, and not of many tones."""
    licence: str
    uses: str
    """What a network that knows it is for, and what not."""
    tested: str
    """What is to be known of figures of the test set."""
    origin: str
    """Who made it, and what is therefore missing from it."""
    hugging_face: str
    """Its id there."""
    citation: str


INFO = {
    "MNIST": DatasetInfo(
        name="MNIST",
        model="mnist-cnn",
        shown="handwritten digit",
        thing="digit",
        classes=tuple("0123456789"),
        box=20,
        strokes=True,
        licence="CC BY-SA 3.0",
        uses="""\
For single handwritten digits, and for learning how a model is searched, trained and tracked. Not
for forms, cheques or addresses, unless somebody reads what it is not sure of: it knows nothing but
digits, and answers with one whatever it is shown.""",
        tested="""\
Its writers wrote nothing in the training set.
The project's fixed parameters were settled over earlier runs, each of which ended with such a look,
so these figures are a little too good to expect of new images.""",
        origin="""\
MNIST was written by employees of the United States' Census Bureau and by high-school students,
before 1995: other hands, such as Europe's crossed seven, are rare in it.""",
        hugging_face="ylecun/mnist",
        citation="""\
Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document
recognition", Proceedings of the IEEE 86 (11), 1998.""",
    ),
    "FashionMNIST": DatasetInfo(
        name="Fashion-MNIST",
        model="fashionmnist-cnn",
        shown="kind of fashion product",
        thing="product",
        classes=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        box=28,
        strokes=False,
        licence="the MIT licence",
        uses="""\
For learning how a model is searched, trained and tracked, on what is harder than digits. Not for
photographs of clothes: it knows nothing but ten kinds of products, each alone and upright on black,
and answers with one of them whatever it is shown.""",
        tested="The project's fixed parameters were settled on MNIST.",
        origin="""\
Fashion-MNIST was made by Zalando from the pictures of its shop, before 2017: what people wear
elsewhere, or wore later, is not in it.""",
        hugging_face="zalando-datasets/fashion_mnist",
        citation="""\
H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
learning algorithms", arXiv:1708.07747, 2017.""",
    ),
    "KMNIST": DatasetInfo(
        name="KMNIST",
        model="kmnist-cnn",
        shown="handwritten cursive Japanese character",
        thing="character",
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        box=28,
        strokes=True,
        licence="CC BY-SA 4.0",
        uses="""\
For learning how a model is searched, trained and tracked, on what is harder than digits. Not for
reading old books: it knows one character of each row of hiragana, and answers with one of these ten
whatever it is shown.""",
        tested="The project's fixed parameters were settled on MNIST.",
        origin="""\
"KMNIST Dataset" (created by CODH), adapted from "Kuzushiji Dataset" (created by NIJL and others),
doi:10.20676/00000341: characters cut from Japanese books of before the twentieth century. Modern
handwriting is not in it.""",
        hugging_face="tanganke/kmnist",
        citation="""\
T. Clanuwat, M. Bober-Irizar, A. Kitamoto, A. Lamb, K. Yamamoto and D. Ha, "Deep learning for
classical Japanese literature", arXiv:1812.01718, 2018.""",
    ),
}
"""By the names of `download.dataset`."""
