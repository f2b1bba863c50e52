"""Stage `download`: get the files of the data set from the first source that has them, checked."""

import argparse

from mnist_cnn import console, data, params, sources


def main() -> None:
    """Download and say where from."""
    console.options(argparse.ArgumentParser(description=__doc__))
    download = params.load().download
    raw = data.folder(download.dataset)
    source, failures = sources.download(download.dataset, download.sources, download.timeout, raw)
    for failure in failures:
        console.say(f"passed over {failure}")
    console.say(f"{raw}: the four files, from {source}")


if __name__ == "__main__":
    console.run(main)
