"""How many samples are answered together: found by what one of them takes up, not by the clock.

Numbers may differ in their last bits between batch sizes, so that the size is part of what makes a
record: a rule finds the same one on every machine of a kind, where a stopwatch would not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.subject.network import Network

LEAST = 8
# More is no faster there: on one thread the caches are full at 128, on an H200 the device at 2,048.
MOST_ON_CPU = 128
MOST_ELSEWHERE = 2048
VALUES = 1 << 22  # of the inputs of a batch on the CPU, at most
MEMORY = 1 << 30  # bytes that a batch's activations may take on the CPU
SHARE = 8  # of another device's memory an eighth: a backward pass and an attack keep several copies


def fitting(values: int, device: torch.device, held: int = 0) -> int:
    """Samples of a batch.

    Args:
        values: of one sample's input.
        held: bytes of all activations of one sample.
    """
    if device.type == "cpu":
        most, memory = MOST_ON_CPU, MEMORY
        most = min(most, VALUES // max(1, values))
    else:
        most, memory = MOST_ELSEWHERE, memory_of(device) // SHARE
    size = max(LEAST, min(most, memory // max(1, held, 4 * values)))
    if device.type == "cpu" and size == most:
        return size
    return 1 << (size.bit_length() - 1)  # a power of two: the last bytes of memory do not matter


def memory_of(device: torch.device) -> int:
    """Bytes that the device has."""
    return int(torch.cuda.get_device_properties(device).total_memory)


def found_size(network: Network, x: Tensor) -> int:
    """Samples of a batch, by what two of them take up on their way through the network.

    Args:
        x: [n, ...] samples, on any device.
    """
    return fitting(x[0].numel(), network.device, held_by(network, x[:2].to(network.device)))


def held_by(network: Network, x: Tensor) -> int:
    """Bytes of all that the layers return for one sample; 0 where they cannot be watched."""
    total = [0]

    def count(_module: nn.Module, _given: object, answers: object) -> None:
        parts = answers if isinstance(answers, (tuple, list)) else [answers]
        total[0] += sum(t.numel() * t.element_size() for t in parts if isinstance(t, Tensor))

    handles = []
    try:
        for module in network.core.modules():
            if not any(True for _ in module.children()):
                handles.append(module.register_forward_hook(count))
        with torch.no_grad():
            network.raw(x.clone())  # it may write in what it is given
    except Exception:  # noqa: BLE001 - the network is the user's code; it is asked again, and told of then
        return 0
    finally:
        for handle in handles:
            handle.remove()
    return total[0] // max(1, len(x))
