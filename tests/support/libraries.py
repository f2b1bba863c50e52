"""What each library computes, as one MD5 for each: run as a script, it prints them as JSON."""

import hashlib
import io
import json
from collections.abc import Callable

from mnist_cnn.evaluation.corruptions import corrupt
from mnist_cnn.learning import augmentation, calibration
from mnist_cnn.learning.data import Examples

import numpy as np
import optuna
import scipy.linalg
import scipy.stats
import sklearn.metrics
import torch
from matplotlib.figure import Figure
from small_networks import deep_cnn
from torch import nn
from torch.nn import functional as F

Arrays = list[np.ndarray]


def random(*shape: int) -> np.ndarray:
    """Standard normal `float64` values, always the same."""
    return np.random.default_rng(0).standard_normal(shape)


def tensor(*shape: int) -> torch.Tensor:
    """The same as `float32`, for gradients."""
    return torch.from_numpy(random(*shape)).float().requires_grad_()


def gradients(function: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> Arrays:
    """The value of a function and the gradients of its sum of squares, for 1 and 2 threads."""
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        value = function(*inputs)
        grads = torch.autograd.grad(value.square().sum(), inputs)
        found += [each.detach().numpy() for each in (value, *grads)]
    return found


def onednn() -> Arrays:
    """Convolutions as networks have them: one image, a batch, many channels, both layouts."""
    found = []
    for images, channels, features, side in ((1, 1, 16, 28), (33, 16, 48, 12), (8, 88, 237, 14)):
        for layout in (torch.contiguous_format, torch.channels_last):
            inputs = tensor(images, channels, side, side).contiguous(memory_format=layout)
            weight = tensor(features, channels, 3, 3).contiguous(memory_format=layout)
            found += gradients(lambda x, w: F.conv2d(x, w, padding=1), inputs, weight)
    return found


def mkl() -> Arrays:
    """Linear layers of several sizes."""
    sizes = ((1, 64, 10), (64, 11613, 389), (250, 432, 10), (256, 192, 128))
    return [
        array
        for batch, features, outputs in sizes
        for array in gradients(F.linear, tensor(batch, features), tensor(outputs, features))
    ]


def pytorch() -> Arrays:
    """Loss, normalisation, augmentation, calibration, corruptions, optimiser, random numbers."""
    found = gradients(lambda x: F.batch_norm(x, None, None, training=True), tensor(37, 5, 7, 7))
    found += gradients(lambda x: F.log_softmax(x, 1).exp(), tensor(123, 10))
    found += gradients(lambda x: F.max_pool2d(x, 2), tensor(5, 3, 13, 13))
    found += gradients(lambda x: torch.cos(x) * torch.sin(x), tensor(217))
    torch.manual_seed(0)
    # Not bilinear, on which qemu 7.2 crashes.
    found.append(
        augmentation.Affine(rotation=10, translation=0.1)(torch.ones(19, 1, 28, 28)).numpy()
    )
    found += [torch.rand(1000).numpy(), torch.randn(1000).numpy(), torch.randperm(1000).numpy()]
    found += [calibrated.numpy() for calibrated in calibrations()]
    images = torch.randint(256, (40, 1, 28, 28), dtype=torch.uint8)
    found += [corrupted.numpy() for _, corrupted in corrupt(images, seed=0)]
    x = tensor(41, 50).detach()
    found += [torch.std(x, 1).numpy(), x.abs().rsqrt().numpy(), torch.hypot(x, x.flip(0)).numpy()]
    layer = nn.Linear(30, 20)
    optimizer = torch.optim.AdamW(layer.parameters(), 0.01, weight_decay=0.1, fused=True)
    for _ in range(20):
        optimizer.zero_grad()
        layer(tensor(50, 30)).square().mean().backward()
        optimizer.step()
    return found + [weight.detach().numpy() for weight in layer.parameters()]


def calibrations() -> tuple[torch.Tensor, ...]:
    """A detector of unfamiliar images, and what a network with it predicts."""
    network = deep_cnn(conv_layers=(12, 40), fc_layers=(64,), batch_norm=True)
    images = torch.randint(256, (300, 1, 28, 28), dtype=torch.uint8)
    detector = calibration.fit_detector(network, Examples(images, torch.arange(300) % 10))
    threshold = calibration.fit_threshold(network, detector, images, rejected=0.05)
    fitted = calibration.Calibration(1.5, threshold, detector)
    return (*detector, *calibration.predict(network, fitted, images))


def numpy() -> Arrays:
    """Elementary functions, sums and sorting."""
    x = random(10_001)
    values = [np.exp(x), np.log(abs(x)), abs(x) ** 1.7, np.sin(x), np.log1p(abs(x)), np.tanh(x)]
    return [*values, np.array([x.sum(), x.std()]), np.argsort(x.round(2)), np.sort(x)]


def openblas() -> Arrays:
    """NumPy's linear algebra, and SciPy's, which has an OpenBLAS of its own."""
    a = random(150, 130)
    square = a.T @ a
    return [
        square,
        a @ a[0, :],
        np.linalg.svd(a)[1],
        np.linalg.inv(square),
        scipy.linalg.cholesky(square),
    ]


def scipy_stats() -> Arrays:
    """Intervals and distributions."""
    hits = range(0, 1000, 37)
    intervals = [scipy.stats.binomtest(n, 1000).proportion_ci(0.95, "wilson") for n in hits]
    return [np.array(intervals), scipy.stats.norm.ppf(np.linspace(0.01, 0.99, 99))]


def sklearn_metrics() -> Arrays:
    """Areas under curves, log loss and kappa."""
    labels = np.arange(1000) % 10
    scores = scipy.special.softmax(random(1000, 10) + 2 * np.eye(10)[labels], axis=1)
    area = sklearn.metrics.roc_auc_score(labels, scores, multi_class="ovr")
    loss = sklearn.metrics.log_loss(labels, scores)
    kappa = sklearn.metrics.cohen_kappa_score(labels, scores.argmax(1))
    return [np.array([area, loss, kappa]), *sklearn.metrics.roc_curve(labels == 0, scores[:, 0])]


def optuna_tpe() -> Arrays:
    """Twenty-five proposals of TPE, each from the results of those before."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=5))
    proposals = []
    for _ in range(25):
        trial = study.ask()
        rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
        width = trial.suggest_int("width", 8, 64, step=8)
        drop = trial.suggest_float("drop", 0, 0.5)
        kind = trial.suggest_categorical("kind", [0, 1])
        study.tell(trial, (np.log10(rate) + 2) ** 2 + (width - 30) ** 2 / 900 + drop + kind)
        proposals.append([float(f"{rate:.6g}"), width, float(f"{drop:.6g}"), kind])
    importances = optuna.importance.get_param_importances(study)
    return [np.array(proposals), np.array([importances[name] for name in sorted(importances)])]


def matplotlib_png() -> Arrays:
    """A plot as PNG."""
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.plot(np.linspace(0, 1, 50), np.linspace(0, 1, 50) ** 2, "o-", label="plot")
    axes.imshow(random(20, 20), extent=(0, 1, 0, 1))
    axes.set(xscale="log", title="title", xlim=(0.01, 1))
    axes.legend()
    png = io.BytesIO()
    figure.savefig(png, metadata={"Software": None})
    return [np.frombuffer(png.getvalue(), np.uint8)]


LIBRARIES = {
    "oneDNN": onednn,
    "MKL": mkl,
    "PyTorch": pytorch,
    "NumPy": numpy,
    "OpenBLAS": openblas,
    "SciPy": scipy_stats,
    "scikit-learn": sklearn_metrics,
    "Optuna": optuna_tpe,
    "Matplotlib": matplotlib_png,
}


def square_roots() -> Arrays:
    """What PyTorch computes with MKL, differently on each make of CPU."""
    return [torch.linspace(0, 1, 10_001).sqrt().numpy()]


def digest(arrays: Arrays) -> str:
    """The MD5 of the content of arrays."""
    content = hashlib.md5(usedforsecurity=False)
    for array in arrays:
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def main() -> None:
    """Print the MD5 of what each library computes, and of square roots."""
    computed = {**LIBRARIES, "sqrt": square_roots}
    print(json.dumps({name: digest(compute()) for name, compute in computed.items()}))


if __name__ == "__main__":
    main()
