"""What users wait for besides training: imports, `dvc repro` with nothing to do, predictions.

python benchmarks/startup.py   # in a clone that has run `dvc repro`
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mnist_cnn.datasets import arrays

from PIL import Image


def seconds(command: list[str]) -> float:
    """Seconds of a command that must succeed."""
    begun = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def write_images(folder: Path, count: int) -> None:
    """Write the first test images as PNG files."""
    images, _ = arrays.read("test", arrays.folder("MNIST"))
    for number, pixels in enumerate(images[:count]):
        Image.fromarray(pixels).save(folder / f"{number:05}.png", compress_level=1)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (default 3)")
    options = parser.parse_args()

    print("| what | seconds |\n|---|--:|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder, 10_000)
        python, dvc = sys.executable, str(Path(sys.executable).with_name("dvc"))
        commands = {
            f"imports of `{stage}.py`": [
                python,
                "-c",
                f"import runpy; runpy.run_path('src/{stage}.py')",
            ]
            for stage in ("download", "tune", "train", "evaluate")
        } | {
            "`dvc repro` with nothing to do": [dvc, "repro", "--quiet"],
            "`predict.py` on one image": [python, "src/predict.py", f"{folder}/00000.png"],
            "`predict.py` on 10,000": [python, "src/predict.py", str(folder)],
        }
        for what, command in commands.items():
            taken = statistics.median(seconds(command) for _ in range(options.repeats))
            print(f"| {what} | {taken:.1f} |", flush=True)


if __name__ == "__main__":
    main()
