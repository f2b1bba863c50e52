"""Stage `download`: make the arrays of the data set from the source that its description names."""

import argparse

from mnist_cnn import console
from mnist_cnn.datasets import arrays, description, params, sources


def main() -> None:
    """Make the arrays, and print their source."""
    console.parse_args(argparse.ArgumentParser(description=__doc__))
    download = params.load()
    described = description.load(download.dataset)
    sources.make(described, download, arrays.folder(download.dataset), console.write)


if __name__ == "__main__":
    console.run(main)
