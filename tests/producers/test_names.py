"""Evidence on disk is found by a producer's name and version: both outlive where its code stands."""

import importlib
import pkgutil

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit import producers
from audit.evidence import Batch, Store
from audit.methods.attacks.ascent import fgsm
from audit.producers import attacks
from audit.producers.of_methods import attack

# A line is changed where a producer's answers have: its version is then raised.
KEPT = {
    "attacks.apgd.apgd": (3, "x"),
    "attacks.ascent.fgsm": (3, "x"),
    "attacks.ascent.free_pgd": (2,),
    "attacks.ascent.pgd": (3, "x"),
    "attacks.categories.recategorised": (3, "x"),
    "attacks.minimum_norm.minimum_eps": (3, "x"),
    "attacks.minimum_norm.smallest_l2": (1, "x"),
    "attacks.patch.patch": (1, "x"),
    "attacks.search.hop_skip_jump": (1, "x"),
    "attacks.search.square": (4, "x"),
    "attacks.spatial.spatial": (1, "x"),
    "attacks.transfer.transfer": (1, "x"),
    "attacks.universal.shifted": (1,),
    "attacks.universal.universal": (2, "change"),
    "attacks.unmasking.unmasked": (1, "x"),
    "attacks.words.reworded": (3, "x"),
    "attributions.gradcam": (1, "map", "players"),
    "attributions.integrated_gradients": (2, "map", "players"),
    "attributions.lime": (1, "map", "players"),
    "attributions.shap": (1, "map", "players"),
    "certificates.search.certified_eps": (3,),
    "corruptions.corrupted": (2,),
    "corruptions.noisy": (1,),
    "quantisation.predict_int8": (1,),
    "smoothing.smooth_attack": (1, "x"),
    "smoothing.smoothed": (1,),
}


def test_producers_keep_their_names_and_versions_and_what_is_private():
    found = {
        made.name.removeprefix("audit.methods."): (made.version, *made.private)
        for module in pkgutil.iter_modules(producers.__path__, "audit.producers.")
        for made in vars(importlib.import_module(module.name)).values()
        if isinstance(getattr(made, "version", None), int)
    }
    assert found == KEPT


def test_a_folder_is_named_after_the_evidence(tmp_path):
    subject = linear()
    store = Store(subject, folder=tmp_path)
    store.get(attacks.recategorised, np.arange(6), eps=0.1, steps=2, changes=0)
    assert [folder.name for folder in tmp_path.iterdir()] == ["recategorised"]


def linear():
    torch.manual_seed(0)
    x = torch.rand(6, 4)
    model = nn.Linear(4, 2)
    columns = [{"name": n, "columns": [i]} for i, n in enumerate("abcd")]
    return audit.Subject(model, x, model(x).argmax(1), features=columns)


def test_what_an_attack_takes_beside_samples_is_read_off_the_subject_or_asked_for():
    asked = []

    def method(model, x, y, eps, *, seed, times, apart):
        asked.append((eps.norm, type(seed).__name__, times, apart))
        return fgsm(model, x, y, eps)

    made = attack(method, 1, "broken", name="of.mine", apart=lambda batch, by=2: (len(batch.x), by))
    assert (made.__name__, made.name, made.version) == ("mine", "of.mine", 1)
    subject = linear()
    x, y = subject.batch(range(6))
    batch = Batch(subject, x, y, np.arange(6, dtype=np.uint64))
    assert set(made(batch, eps=0.1, norm="l2", times=3, by=5)) == {"broken"}
    made(batch, eps=0.1, times=4)
    assert asked == [("l2", "Draws", 3, (6, 5)), ("linf", "Draws", 4, (6, 2))]
    with pytest.raises(TypeError, match="evrey"):
        made(batch, eps=0.1, times=4, evrey=1)


def test_a_margin_must_be_led_by_before_a_sample_counts_as_broken():
    subject = linear()
    x, y = subject.batch(range(6))
    batch = Batch(subject, x, y, np.arange(6, dtype=np.uint64))
    few, none = (attacks.fgsm(batch, eps=2.0, margin=margin)["broken"] for margin in (0.0, 1000.0))
    assert few.any()
    assert not none.any()
