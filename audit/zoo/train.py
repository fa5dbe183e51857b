"""`python -m audit.zoo.train NAME`: make a reference model's weights again from the bundled data."""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors.torch import load_file

from audit.artifact.checkpoint import save
from audit.entrypoints import zoo


def main() -> None:
    """Train a reference model and write its weights, or describe it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(zoo()), help="the model to train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write (default: the bundled weights)")
    parser.add_argument(
        "--describe",
        action="store_true",
        help="keep the weights as they are and write the model's description anew",
    )
    arguments = parser.parse_args()
    entry = zoo()[arguments.name].load()
    path = arguments.out or entry.weights
    if arguments.describe:
        model = entry.architecture()
        model.load_state_dict(load_file(entry.weights))
    else:
        model = entry.train(arguments.seed, entry.data()[0])
    print(save(model, path, arch=entry.arch, meta=entry.meta))


if __name__ == "__main__":
    main()
