"""Stage `download`: get the four files of MNIST from the first source that has them, checked."""

import argparse

from mnist_cnn import console, data, params, sources


def main() -> None:
    """Download and say where from."""
    console.options(argparse.ArgumentParser(description=__doc__))
    download = params.load().download
    source = sources.download(download.sources, download.timeout)
    console.say(f"{data.RAW}: the four files, from {source.replace('_', ' ')}")


if __name__ == "__main__":
    console.run(main)
