"""Each planted fault of the weights is found by its name; the clean twin passes."""

import pytest
import torch

import audit

from ...conftest import TinyCNN, image_data


def spoil(fault):
    torch.manual_seed(0)
    model = TinyCNN()
    with torch.no_grad():
        if fault == "non_finite_tensors":
            model.head.weight[0, 0] = float("nan")
        elif fault == "all_zero_tensors":
            model.conv.weight.zero_()
        elif fault == "constant_tensors":
            model.head.weight.fill_(0.3)
        elif fault == "exploding_tensors":
            model.head.weight[1, 1] = 1e6
    return model


@pytest.mark.parametrize(
    "fault",
    [
        "non_finite_tensors",
        "all_zero_tensors",
        "constant_tensors",
        "exploding_tensors",
    ],
)
def test_each_fault_is_found_without_data(fault):
    record = audit.run(audit.Subject(spoil(fault)), ["training.weights"])
    check = record.checks[0]
    assert check.state == "failed"
    assert [e.metric for e in check.expectations if e.state == "failed"] == [fault]
    assert "weight" in record.findings_of(check.id)[0].what_happened


def test_clean_weights_pass_the_check_but_not_the_audit():
    record = audit.run(audit.Subject(spoil("")), ["training.weights"])
    assert record.checks[0].state == "met"
    assert record.verdict.word == "inconclusive"


def test_nan_weights_fail_the_audit_and_nothing_else_is_measured():
    x, y = image_data(60)
    record = audit.run(audit.Subject(spoil("non_finite_tensors"), x, y, input={"range": (0, 1)}))
    assert record.verdict.word == "fail"
    others = {c.state for c in record.checks if c.id != "training.weights"}
    assert others == {"untested"}
    assert "NaN" in record.check("robustness.pgd").reason
