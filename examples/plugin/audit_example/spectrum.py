"""Spectra: [bands], intensities in one unit, neighbouring bands alike."""

from typing import ClassVar

import torch

from audit.inputs import InputKind, Parts, blocks


class Spectrum(InputKind):
    """Spectra. A row of numbers is a table unless somebody says otherwise."""

    noun: ClassVar[str] = "spectra"
    value: ClassVar[str] = "band"
    common_unit: ClassVar[bool] = True
    has_neighbours: ClassVar[bool] = True
    noisy: ClassVar[bool] = True

    def fits(self, x, first):
        return ""  # never guessed

    def tiny(self, n, generator):
        return torch.rand(n, 12, generator=generator), {"range": (0, 1), "eps": 0.05}

    def parts(self, subject):
        bands = subject.inputs.shape[1]
        count = min(8, bands)
        names = [f"bands {i + 1} of {count}" for i in range(count)]
        return Parts(blocks(bands, count), names, (1, count))

    def tile(self, subject, x):
        return x[None]

    def drawn_map(self, subject, values):
        return values.reshape(1, -1)
