"""How far to trust a prediction: calibrated probabilities, and how familiar an image is.

Probabilities are divided by a temperature before the softmax (Guo et al. 2017, arXiv 1706.04599).

An image is unfamiliar if the layers of the network respond to it unlike they do to training images:
by the Mahalanobis distance in one Gaussian of their responses (after Lee et al. 2018, arXiv
1807.03888, who have one for each class). A response is the mean and the standard deviation of each
channel of a convolution, or an output of a linear layer. The threshold is that of one network, so
an ensemble responds with its first member.
"""

import math
from typing import Any, NamedTuple, Self

from mnist_cnn.learning.data import Examples, stratified_order
from mnist_cnn.learning.ensemble import first
from mnist_cnn.networks import Classifier

import torch
from torch import Tensor, nn

BATCH = 250
MOST = 20_000


class Detector(NamedTuple):
    """A Gaussian of the responses of a network to training images."""

    mean: Tensor
    """`float32 (d,)`, for d responses."""
    whitening: Tensor
    """`float32 (d, d)`; turns differences from the mean into independent values of variance 1."""

    def distances(self, responses: Tensor) -> Tensor:
        """Distances `(n,)` of responses `(n, d)`; about 1 in the fit."""
        return _root_mean_square((responses - self.mean) @ self.whitening.T, 1)


class Calibration(NamedTuple):
    """What turns the logits of a network into probabilities, and rejects unfamiliar images."""

    temperature: float
    threshold: float
    """The largest distance of a familiar image."""
    detector: Detector

    def content(self) -> dict[str, Any]:
        """Plain values and tensors, for a file."""
        return {
            "temperature": self.temperature,
            "threshold": self.threshold,
            **{name: value.cpu() for name, value in self.detector._asdict().items()},
        }

    @classmethod
    def of(cls, content: dict[str, Any]) -> Self:
        """The inverse of `content`."""
        detector = Detector(content["mean"], content["whitening"])
        return cls(float(content["temperature"]), float(content["threshold"]), detector)


class Predictions(NamedTuple):
    """Probabilities `float64 (n, classes)`, and familiarities `float64 (n,)`.

    A familiarity is at most 1, and negative for an image that should be rejected.
    """

    probabilities: Tensor
    familiarity: Tensor


class Calibrated(nn.Module):
    """A network with its calibration, as one module that can be exported.

    `forward` takes pixel values `(n, channels, height, width)`, and returns
    `float64 (n, classes + 1)`: calibrated probabilities, and then the familiarity.
    """

    def __init__(self, network: Classifier, calibration: Calibration | None) -> None:
        super().__init__()
        self.network = network
        self.temperature = calibration.temperature if calibration else 1.0
        self.threshold = calibration.threshold if calibration else 1.0
        self.calibrated = calibration is not None
        if calibration:
            self.register_buffer("mean", calibration.detector.mean)
            self.register_buffer("whitening", calibration.detector.whitening)

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class."""
        logits, responses = respond(self.network, pixels)
        familiarity = torch.ones_like(logits[:, 0])
        if self.calibrated:
            detector = Detector(self.get_buffer("mean"), self.get_buffer("whitening"))
            familiarity = 1 - detector.distances(responses) / self.threshold
        probabilities = (logits / self.temperature).double().softmax(1)
        return torch.cat([probabilities, familiarity.double()[:, None]], 1)


@torch.inference_mode()
def predict(network: Classifier, calibration: Calibration | None, images: Tensor) -> Predictions:
    """Predictions for pixel values `(n, channels, height, width)`.

    Without a calibration the temperature is 1, and every familiarity too. Leaves the network in
    evaluation mode.
    """
    model = Calibrated(network, calibration).eval().to(images.device)
    outputs = torch.cat([model(batch) for batch in images.split(BATCH)])
    return Predictions(outputs[:, :-1], outputs[:, -1])


@torch.no_grad()
def fit_detector(network: Classifier, examples: Examples) -> Detector:
    """The Gaussian of the responses to examples; to `MOST` of them, of all classes.

    With few examples for the number of responses, the distances of new images would be far larger
    than those of these. So correlations are shrunk by as much as the two numbers ask for (Chen et
    al. 2010, oracle approximating shrinkage).
    """
    network.eval()
    chosen = stratified_order(examples.labels.cpu(), seed=0)[:MOST].to(examples.labels.device)
    batches = examples.images[chosen].split(BATCH)
    responses = torch.cat([respond(network, batch)[1].double() for batch in batches])
    mean = responses.mean(0)
    covariance = (responses - mean).T @ (responses - mean) / len(responses)
    scale = _root_mean_square(responses - mean, 0).clamp(min=1e-6)
    correlation = _shrink(covariance / scale.outer(scale), len(responses))
    whitening = torch.linalg.inv(torch.linalg.cholesky(correlation)) / scale
    return Detector(mean.float(), whitening.float())


def _shrink(correlation: Tensor, count: int) -> Tensor:
    """The correlations of so many examples, shrunk towards the identity matrix."""
    size = len(correlation)
    correlation = correlation.fill_diagonal_(1)  # that of a constant response is 0
    square = correlation.square().mean()
    amount = ((square + 1) / ((count + 1) * (square - 1 / size)).clamp(min=1e-12)).clamp(max=1)
    return (1 - amount) * correlation + amount * torch.eye(size).to(correlation)


@torch.no_grad()
def fit_threshold(
    network: Classifier, detector: Detector, images: Tensor, rejected: float
) -> float:
    """The distance above which a fraction `rejected` of images is, which were not trained on."""
    network.eval()
    distances = [detector.distances(respond(network, part)[1]) for part in images.split(BATCH)]
    return float(torch.cat(distances).double().quantile(1 - rejected))


@torch.no_grad()
def fit_temperature(network: Classifier, examples: Examples) -> float:
    """The temperature with the lowest log loss on examples that were not trained on.

    The log loss is convex in 1 / temperature, so Newton's method finds it.
    """
    network.eval()
    logits = torch.cat([network(part) for part in examples.images.split(BATCH)]).double()
    true = logits.gather(1, examples.labels[:, None]).mean()
    inverse = 1.0
    for _ in range(100):
        probabilities = (inverse * logits).softmax(1)
        mean = (probabilities * logits).sum(1)
        variance = ((probabilities * logits.square()).sum(1) - mean.square()).mean()
        step = float((mean.mean() - true) / variance.clamp(min=1e-12))
        # Without a mistake among them there is no lowest one; a factor of two at most at a time.
        inverse = min(max(inverse - step, inverse / 2), inverse * 2, 100.0)
        if abs(step) < 1e-10:
            break
    return 1 / inverse


def respond(network: Classifier, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits `(n, classes)` and responses `(n, d)` to pixel values."""
    outputs: list[Tensor] = []

    def record(layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        channels_last = isinstance(layer, nn.Linear)
        outputs.append(output.movedim(-1, 1) if channels_last else output)

    hooks = [
        layer.register_forward_hook(record)
        for layer in first(network).modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    ]
    try:
        logits: Tensor = network(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    responses = []
    for output in outputs or [logits]:
        if output.ndim == 2:
            responses.append(output)
        else:
            positions = output.flatten(2)
            means = positions.mean(2)
            responses += [means, _root_mean_square(positions - means[:, :, None], 2)]
    return logits, torch.cat(responses, 1)


def _root_mean_square(values: Tensor, dim: int) -> Tensor:
    """The square root of the mean of the squares along a dimension.

    Without `sqrt`, for which PyTorch calls MKL. That begins with the CPU's approximation of a
    reciprocal square root, and each maker of CPUs has another.
    """
    length: Tensor = torch.linalg.vector_norm(values, dim=dim)
    return length / math.sqrt(values.shape[dim])
