"""Checks share evidence as they are configured: what one computes, no other computes again."""

import pytest

import audit
from audit.checking import Context
from audit.checks.robustness.pgd import PGD
from audit.evidence import Store

SHARING = ["pgd", "fgsm", "worst_case", "black_box", "gradient_masking", "certified"]
SMALL = {
    "robustness.worst_case": {"samples": 60, "steps": 4, "queries": 10, "targets": 1},
    "robustness.certified": {"samples": 20},
    "robustness.black_box": {"samples": 60, "queries": 20},
}


def pgds(subject, own):
    """Parameters of PGD that a run asks for on all samples → how many batches it computed."""
    made = {}
    real = Store.get

    def get(store, produce, samples, fields=None, **parameters):
        before = store.ledger.computed
        found = real(store, produce, samples, fields, **parameters)
        if produce.name.endswith(".pgd") and parameters.get("random_start"):
            key = (parameters["eps"], parameters["steps"])
            made[key] = made.get(key, 0) + store.ledger.computed - before
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "get", get)
        checks = [f"robustness.{name}" for name in SHARING]
        parameters = {**SMALL, "robustness.pgd": {"queries": 20, "curve": [1.0], **own}}
        record = audit.run(subject, checks, profile="quick", parameters=parameters)
    return record, made


@pytest.mark.parametrize("own", [{}, {"steps": 12}, {"restarts": 2}])
def test_pgd_is_computed_once_whatever_its_parameters(images, own):
    record, made = pgds(images, own)
    assert record.check("robustness.worst_case").state != "broken"
    steps, eps = own.get("steps", 10), record.check("robustness.pgd").metrics[1].slice["eps"]
    batches = -(-200 // images.batch_size)
    assert made.pop((eps, steps)) == batches
    # FGSM asks PGD of its own samples; nobody asks another PGD.
    assert not [key for key in made if key[0] == eps]


def test_a_run_computes_as_many_batches_with_a_user_s_steps_as_without(images):
    counts = [pgds(images, own)[0].timing["evidence"]["computed"] for own in ({}, {"steps": 12})]
    assert counts[0] == counts[1]


def test_a_check_alone_takes_the_others_as_the_profile_has_them(images):
    context = Context(images, Store(images), profile="quick")
    assert context.configured(PGD).steps == 10
    configured = PGD(steps=12)
    context = Context(images, Store(images), profile="quick", checks={PGD.id: configured})
    assert context.configured(PGD) is configured
    assert context.variant("other", images.core).configured(PGD) is configured
