"""How many samples are answered together follows from what one takes up, and is the same every time."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.batching import LEAST, MEMORY, fitting, held_by
from audit.draws import on_device, on_host
from audit.subject.network import Network
from audit.subject.wrapping import OutputForm

CPU = torch.device("cpu")


def test_what_is_small_goes_in_the_batch_that_fills_the_caches():
    assert fitting(64, CPU, 10_000) == 128


@pytest.mark.parametrize(("held", "size"), [(MEMORY // 100, 64), (MEMORY // 9, 8), (MEMORY, LEAST)])
def test_what_takes_up_more_goes_in_smaller_batches(held, size):
    assert fitting(64, CPU, held) == size


def test_large_pictures_go_in_smaller_batches():
    assert fitting(3 * 224 * 224, CPU) == (1 << 22) // (3 * 224 * 224)


def test_what_a_sample_takes_up_is_all_that_its_layers_return():
    core = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 2))
    network = Network(core, nn.Identity(), CPU, OutputForm())
    assert held_by(network, torch.zeros(2, 4)) == 4 * (10 + 10 + 2)
    assert not any(len(m._forward_hooks) for m in core.modules())


def test_a_network_that_swells_is_answered_in_smaller_batches():
    class Swelling(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(4, 1 << 22), nn.Linear(1 << 22, 2)

        def forward(self, x):
            return self.down(self.up(x))

    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    sizes = {audit.Subject(Swelling(), x, np.arange(40) % 2).batch_size for _ in range(2)}
    assert sizes == {32}
    assert audit.Subject(Swelling(), x, np.arange(40) % 2, batch_size=5).batch_size == 5


def test_the_size_is_recorded():
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    subject = audit.Subject(nn.Linear(4, 2), x, np.arange(60) % 2, batch_size=16)
    record = audit.run(subject, ["performance.classification"])
    assert record.plan.batch == record.environment["batch_size"] == 16


@pytest.mark.parametrize("stream", [0, 1, 7, 12345])
def test_random_numbers_are_the_same_bits_wherever_they_are_made(stream):
    seeds = np.random.default_rng(3).integers(0, 1 << 64, 50, dtype=np.uint64, endpoint=False)
    seeds[:3] = 0, (1 << 64) - 1, 1 << 63
    host = on_host(seeds, stream, 97, CPU)
    assert torch.equal(host, on_device(seeds, stream, 97, CPU))
    assert 0 <= float(host.min()) < 0.01
    assert 0.99 < float(host.max()) < 1
    assert abs(float(host.mean()) - 0.5) < 0.02
