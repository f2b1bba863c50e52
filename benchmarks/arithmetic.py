"""What portable arithmetic costs: `fit`, and the whole pipeline, beside native arithmetic.

    python benchmarks/arithmetic.py
    python benchmarks/arithmetic.py --pipeline

The two take turns. Arithmetic is fixed when a process starts, so each has a process of its own.
"""

import argparse
import statistics
import subprocess
import sys
import time

from mnist_cnn.datasets import arrays
from mnist_cnn.learning import arithmetic, compute, data
from mnist_cnn.learning.hyperparameters import load, parse

import article
from floor import BEST, fit

NETWORKS = {"the best of the study": 10_000, "the article's": 2_000}
KINDS = ("native", "portable")


def answer() -> None:
    """Read lines `network,threads`; print the seconds of one epoch of `fit` for each."""
    train = data.load("train", arrays.folder("MNIST"))
    _, best = load(BEST, "deep_cnn")
    theirs = parse(article.HYPERPARAMETERS, "deep_cnn")
    for line in sys.stdin:
        name, threads = line.strip().split(",")
        compute.configure(int(threads))
        (examples,) = data.subset(train, (NETWORKS[name],), seed=0)
        print(fit(theirs if name == "the article's" else best, examples), flush=True)


def start(kind: str) -> "subprocess.Popen[str]":
    """A process that answers, with this arithmetic."""
    return subprocess.Popen(
        [sys.executable, __file__, "--answer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=arithmetic.environment_without_arithmetic() | {arithmetic.VARIABLE: kind},
    )


def ask(process: "subprocess.Popen[str]", name: str, threads: int) -> float:
    """Seconds of one epoch."""
    process.stdin.write(f"{name},{threads}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def pipeline(kind: str) -> float:
    """Seconds of tune, train and evaluate, in a temporary copy of the project."""
    command = ["dvc", "exp", "run", "--temp", "--force", "--quiet", "--name", f"benchmark-{kind}"]
    begun = time.perf_counter()
    subprocess.run(
        [*command, "--set-param", f"compute.arithmetic={kind}"],
        check=True,
        env=arithmetic.environment_without_arithmetic() | {"QUIET": "1"},
    )
    return time.perf_counter() - begun


def row(name: str, pairs: list[tuple[float, float]]) -> str:
    """A row of the table: medians of each, and of their ratio."""
    native, portable = map(statistics.median, zip(*pairs, strict=True))
    ratio = statistics.median(ours / theirs for theirs, ours in pairs)
    return f"| {name} | {native:.2f} | {portable:.2f} | {ratio:.2f} |"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="turns of each (default 7)")
    parser.add_argument("--pipeline", action="store_true", help="time the whole pipeline instead")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        answer()
        return
    print("| what | native, s | portable, s | ratio |")
    print("|---|--:|--:|--:|")
    if options.pipeline:
        pairs = [(pipeline("native"), pipeline("portable")) for _ in range(options.repeats)]
        print(row("`dvc repro`", pairs))
        return
    native, portable = map(start, KINDS)
    for name in NETWORKS:
        for threads in (1, 2):
            pairs = [
                (ask(native, name, threads), ask(portable, name, threads))
                for _ in range(options.repeats + 1)
            ][1:]  # the first one warms
            unit = "thread" if threads == 1 else "threads"
            print(row(f"`fit`, {name}, {threads} {unit}", pairs), flush=True)
    for process in (native, portable):
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    main()
