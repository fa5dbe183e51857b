"""What the docstrings of public functions show is what happens; attacks take tensors and any callable."""

import doctest
import importlib
import inspect
import pkgutil
import re

import pytest
import torch
from torch import nn

from audit.methods import attacks, attributions, corruptions, quantisation, smoothing
from audit.methods.attacks import ascent, square

MODULES = [
    *(
        importlib.import_module(m.name)
        for package in (attacks, attributions)
        for m in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    ),
    corruptions,
    quantisation,
    smoothing,
]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_the_examples_hold(module):
    found = doctest.testmod(module, extraglobs={"torch": torch})
    assert found.failed == 0


def test_every_function_of_a_model_samples_and_labels_shows_an_example():
    shown = {
        name: bool(doctest.DocTestFinder(recurse=False).find(function, name)[0].examples)
        for module in MODULES
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and re.match("model|score,x,target,", ",".join(inspect.signature(function).parameters))
        and name not in {"votes", "neighbours", "coalition_values"}
    }
    assert {"pgd", "apgd", "square", "patch", "smallest_l2", "unmasked", "universal"} <= set(shown)
    assert {"integrated_gradients", "gradcam", "shap", "lime", "faithfulness"} <= set(shown)
    assert all(shown.values()), [name for name, has in shown.items() if not has]


@pytest.mark.parametrize("attack", [ascent.pgd, square.square])
def test_a_bare_function_and_a_module_are_attacked_alike_and_the_seed_decides(attack):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    x = torch.rand(40, 3, 4, 4)
    y = module(x).argmax(1)
    found = attack(module, x, y, eps=0.1, bounds=(0, 1), seed=1)
    again = attack(lambda point: module(point), x, y, eps=0.1, bounds=(0, 1), seed=1)
    other = attack(module, x, y, eps=0.1, bounds=(0, 1), seed=2)
    assert torch.equal(found.x, again.x)
    assert not torch.equal(found.x, other.x)
    assert int(found.broken.sum()) > 0
    assert torch.equal(module(found.x).argmax(1) != y, found.broken)
    assert float((found.x - x).abs().max()) <= 0.1 + 1e-6
    assert float(found.x.min()) >= 0
    assert float(found.x.max()) <= 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"eps": -0.1}, "0 or more"),
        ({"eps": 0.1, "norm": "l1"}, "linf, l2"),
        ({"eps": 0.1, "bounds": (1, 0)}, "the lower comes first"),
    ],
)
def test_a_budget_that_is_none_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        ascent.pgd(lambda x: x, torch.zeros(2, 2), torch.zeros(2).long(), **wrong)
