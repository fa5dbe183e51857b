"""Does every input count, and nothing that a mask hides? By planted faults and their clean twins."""

import numpy as np
import torch
from torch import nn

import audit


class Reader(nn.Module):
    """The mean of scores of words: over those that are there, and a little over all; and a number's."""

    def __init__(self, leak, used):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.row = nn.Embedding(20, 2), nn.Linear(3, 2)
        self.leak, self.used = leak, used

    def forward(self, ids, mask, row):
        words = self.words(ids)
        there = (words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return there + self.leak * words.mean(1) + self.used * self.row(row)


def record(leak, used):
    rng = np.random.default_rng(0)
    mask = (np.arange(8) < rng.integers(3, 9, (400, 1))).astype(np.int64)
    x = {
        "ids": rng.integers(1, 20, (400, 8)) * mask,
        "mask": mask,
        "row": rng.normal(size=(400, 3)).astype(np.float32),
    }
    subject = audit.Subject(Reader(leak, used), x, rng.integers(0, 2, 400))
    made = audit.run(subject, checks=["behaviour.inputs"]).check("behaviour.inputs")
    states = {(e.metric, e.slice["input"]): e.state for e in made.expectations if e.slice}
    return states, {(m.name, m.slice["input"]): m.value for m in made.metrics}


def test_a_sound_model_reads_each_input_and_no_padding():
    states, values = record(leak=0.0, used=1.0)
    assert set(states.values()) == {"met"}
    assert values["moved_by_hidden", "ids"] == 0
    assert values["moved", "row"] > 0.9


def test_padding_that_is_read_fails():
    states, _ = record(leak=0.1, used=1.0)
    assert states["moved_by_hidden", "ids"] == "failed"
    assert states["moved", "row"] == "met"


def test_an_input_that_is_not_read_fails():
    states, values = record(leak=0.0, used=0.0)
    assert states["moved", "row"] == "failed"
    assert values["moved", "row"] == 0
    assert states["moved", "ids"] == "met"
