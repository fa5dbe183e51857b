"""FGSM inherits its evidence from PGD, and can fail."""

import audit


def test_fgsm_inherits_validity_and_is_no_stronger_than_pgd(images):
    weak = audit.check("robustness.fgsm", eps=0.25).measure(images)
    strong = audit.check("robustness.pgd", eps=0.25).measure(images)
    names = [v.name for v in weak.validity]
    assert names[:6] == [
        "gradients",
        "loss rose",
        "black-box no better",
        "transfer no better",
        "more steps change little",
        "budget removed",
    ]
    assert names[-1] == "PGD at least as strong"
    a, b = (m.metric("robust_accuracy", eps=0.25).value for m in (weak, strong))
    assert b <= a < 1


def test_a_fragile_model_fails_and_the_same_model_passes_a_small_eps(images):
    for eps, state in ((0.5, "failed"), (0.001, "met")):
        record = audit.run(images, [audit.check("robustness.fgsm", eps=eps)])
        assert record.checks[0].state == state
