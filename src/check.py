"""Check `params.yaml`, the description of its data set, and its network.

DVC deletes the results of a stage before it runs the stage, so check first.
"""

import argparse

from mnist_cnn import console, params


def main() -> None:
    """Report every mistake that can be found without running a stage."""
    console.parse_args(argparse.ArgumentParser(description=__doc__))
    params.load()
    console.write("params.yaml is valid")


if __name__ == "__main__":
    console.run(main)
