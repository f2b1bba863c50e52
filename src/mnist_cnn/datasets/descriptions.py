"""Facts about MNIST, Fashion-MNIST and KMNIST, for the model card, the demo and the registry.

Each has 60,000 training and 10,000 test images of 28 × 28 grey pixels in ten classes.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Description:
    """Facts about a data set, and sentences about it for the model card."""

    name: str
    """The name that its authors use."""
    model: str
    """The name of its models in the registry."""
    subject: str
    """What an image shows, such as "handwritten digit"."""
    noun: str
    """The same in one word, with the plural in "s"."""
    classes: tuple[str, ...]
    """The name of each class, by label."""
    object_size: int
    """Pixels of the longer side of the object in an image."""
    strokes: bool
    """Whether the object is drawn with white strokes, instead of many grey levels."""
    licence: str
    """Of the images."""
    intended_use: str
    """A paragraph for the card: what a model is for, and what it is not for."""
    test_set: str
    """How far test metrics can be trusted."""
    origin: str
    """Who made the images, and what they do not show."""
    hugging_face_id: str
    """Its name on Hugging Face, such as `ylecun/mnist`."""
    citation: str
    """Of the publication of the data set."""


DESCRIPTIONS = {
    "MNIST": Description(
        name="MNIST",
        model="mnist-cnn",
        subject="handwritten digit",
        noun="digit",
        classes=tuple("0123456789"),
        object_size=20,
        strokes=True,
        licence="CC BY-SA 3.0",
        intended_use="""\
For single handwritten digits, and for learning how a model is tuned, trained and tracked. Do not
use it for forms, cheques or addresses unless a person checks predictions of low confidence: it
classifies every image as a digit, whatever the image shows.""",
        test_set="""\
No writer is in both the training and the test set.
The fixed hyperparameters were chosen over earlier runs, each of which ended with an evaluation on
the test set, so expect slightly worse metrics on new images.""",
        origin="""\
MNIST was written by employees of the United States Census Bureau and by high-school students before
1995. Other handwriting, such as the European seven with a bar, is rare in it.""",
        hugging_face_id="ylecun/mnist",
        citation="""\
Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document
recognition", Proceedings of the IEEE 86 (11), 1998.""",
    ),
    "FashionMNIST": Description(
        name="Fashion-MNIST",
        model="fashionmnist-cnn",
        subject="kind of fashion product",
        noun="product",
        classes=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        object_size=28,
        strokes=False,
        licence="the MIT licence",
        intended_use="""\
For learning how a model is tuned, trained and tracked on harder images than digits. Do not use it
for photographs of clothes: it knows ten kinds of products, each alone and upright on black, and
classifies every image as one of them.""",
        test_set="The fixed hyperparameters were chosen on MNIST.",
        origin="""\
Fashion-MNIST was made by Zalando from its product photographs before 2017. It does not show what
people wear elsewhere, or have worn since.""",
        hugging_face_id="zalando-datasets/fashion_mnist",
        citation="""\
H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
learning algorithms", arXiv:1708.07747, 2017.""",
    ),
    "KMNIST": Description(
        name="KMNIST",
        model="kmnist-cnn",
        subject="handwritten cursive Japanese character",
        noun="character",
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        object_size=28,
        strokes=True,
        licence="CC BY-SA 4.0",
        intended_use="""\
For learning how a model is tuned, trained and tracked on harder images than digits. Do not use it
to read old books: it knows one character of each row of hiragana, and classifies every image as one
of these ten.""",
        test_set="The fixed hyperparameters were chosen on MNIST.",
        origin="""\
"KMNIST Dataset" (created by CODH), adapted from "Kuzushiji Dataset" (created by NIJL and others),
doi:10.20676/00000341: characters cut from Japanese books printed before 1900. Modern handwriting is
not in it.""",
        hugging_face_id="tanganke/kmnist",
        citation="""\
T. Clanuwat, M. Bober-Irizar, A. Kitamoto, A. Lamb, K. Yamamoto and D. Ha, "Deep learning for
classical Japanese literature", arXiv:1812.01718, 2018.""",
    ),
}
"""By the name in `download.dataset`."""
