"""`python -m audit.zoo.train NAME`: make a reference model's weights again from the bundled data."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from audit.artifact.checkpoint import save
from audit.entrypoints import zoo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(zoo()), help="the model to train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write (default: the bundled weights)")
    arguments = parser.parse_args()
    entry = zoo()[arguments.name].load()
    model = entry.train(arguments.seed)
    path = arguments.out or entry.weights
    save(model, path, arch=entry.arch, meta=entry.meta)
    test = entry.data()[1]
    prepare = torch.as_tensor(test.x)
    from audit.subject import Subject

    subject = Subject(model, prepare, test.y, meta=entry.meta)
    with torch.no_grad():
        hits = (subject.logits(torch.as_tensor(test.x)).argmax(1).cpu() == torch.as_tensor(test.y))
    print(f"{path}: accuracy {hits.float().mean():.4f} on {len(hits)} samples")


if __name__ == "__main__":
    main()
