"""Stage `download`: get the files of the data set from the first source that has them."""

import argparse

from mnist_cnn import console
from mnist_cnn.datasets import idx, params, sources


def main() -> None:
    """Download, and print the source."""
    console.parse_args(argparse.ArgumentParser(description=__doc__))
    download = params.load()
    raw = idx.folder(download.dataset)
    source, failures = sources.download(download.dataset, download.sources, download.timeout, raw)
    for failure in failures:
        console.write(f"skipped {failure}")
    console.write(f"{raw}: four files from {source}")


if __name__ == "__main__":
    console.run(main)
