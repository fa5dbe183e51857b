"""What names people's groups: every kind of missing, by every reader, and numbers in bins."""

import numpy as np
import pandas as pd
import pytest
import torch

import audit
from audit.data import read_data
from audit.errors import AuditError
from audit.meta import SubjectMeta
from audit.people import cluster_labels, group_labels

GAPS = {
    "None": None,
    "NaN": float("nan"),
    "numpy's NaN": np.float32("nan"),
    "pandas's NA": pd.NA,
    "NaT": pd.NaT,
    "an empty text": "",
    "blanks": "  ",
}


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize(
    "make",
    [
        list,
        lambda items: np.array(items, dtype=object),
        lambda items: pd.Series(items, dtype=object),
    ],
)
def test_every_kind_of_missing_is_one_group_and_said(gap, make):
    labels, notes = group_labels(make(["F", GAPS[gap], "M", None]), 4, "sex")
    assert labels.tolist() == ["F", "missing", "M", "missing"]
    assert "missing for 2 of 4 samples" in notes[0]
    assert len(notes) == 1


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("text", ["NA", "None", "nan", "null", "N/A", "n/a", "#N/A", "-"])
def test_a_text_that_looks_like_missing_stays_a_text(tmp_path, suffix, text):
    frame = pd.DataFrame({"a": [1, 2, 3], "y": [0, 1, 0], "region": [text, None, "EU"]})
    path = tmp_path / f"t.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    found = read_data(str(path), SubjectMeta(sensitive=["region"]))
    labels, notes = group_labels(found.sensitive["region"], 3, "region")
    assert labels.tolist() == [text, "missing", "EU"]
    assert "missing for 1 of 3" in notes[0]
    assert (len(notes) == 2) == (text in ("nan", "None"))


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0, 1, 1], ["0", "1", "1"]),
        ([0.0, 1.0, float("nan")], ["0", "1", "missing"]),
        (["0", "1.0", None], ["0", "1", "missing"]),
        (["01", "1", "02"], ["01", "1", "02"]),
        ([True, False, None], ["True", "False", "missing"]),
        ([0.5, 1.5, 0.5], ["0.5", "1.5", "0.5"]),
        (np.array([b"F", b"M", b"F"]), ["F", "M", "F"]),
        (pd.Series(["F", "M", None], dtype="category"), ["F", "M", "missing"]),
        (torch.tensor([3, 4, 4]), ["3", "4", "4"]),
        (
            np.array(["1970-02-01", "1999-01-02", "NaT"], dtype="datetime64[D]"),
            ["1970", "1999", "missing"],
        ),
    ],
)
def test_whatever_type_it_comes_in_it_is_the_same_group(values, labels):
    assert group_labels(values, 3, "who")[0].tolist() == labels


def test_numbers_of_many_values_are_compared_in_bins():
    rng = np.random.default_rng(0)
    age = rng.uniform(18, 90, 2000).round(2)
    age[:100] = np.nan
    labels, notes = group_labels(age, 2000, "age")
    names, counts = np.unique(labels, return_counts=True)
    assert len(names) == 6
    assert counts[names == "missing"] == 100
    assert min(counts[names != "missing"]) > 340
    assert "in 5 bins" in notes[0]
    assert "sensitive_bins = {age = [" in notes[0]
    edges = [float(e) for e in notes[0].split("[")[-1].split("]")[0].split(",")]
    assert np.array_equal(group_labels(age, 2000, "age", edges)[0], labels)


def test_given_edges_are_kept_and_each_begins_a_bin():
    labels, notes = group_labels([29, 30, 49.9, 50, None], 5, "age", [50, 30])
    assert labels.tolist() == [
        "under 30",
        "30 to under 50",
        "30 to under 50",
        "50 and over",
        "missing",
    ]
    assert len(notes) == 1


def test_where_most_hold_the_lowest_number_the_others_are_a_bin():
    values = np.r_[np.zeros(900), np.arange(1, 101)]
    names, counts = np.unique(group_labels(values, 1000, "gain")[0], return_counts=True)
    assert names.tolist() == ["1 and over", "under 1"]
    assert counts.tolist() == [100, 900]


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"sensitive_bins": {"sex": [3]}}, "'sex', which holds texts"),
        ({"sensitive_bins": {"age": [3]}}, "'age', which is not among the sensitive attributes"),
    ],
)
def test_bins_of_what_has_no_numbers_are_refused(known, message):
    x, y = np.eye(4, dtype=np.float32), np.arange(4)
    with pytest.raises(AuditError, match=message):
        audit.Subject(torch.nn.Linear(4, 4), x, y, sensitive={"sex": list("FMFM")}, **known)


def test_samples_that_name_no_cluster_are_one_and_said():
    labels, notes = cluster_labels([1.0, None, float("nan"), 2.0], 4)
    assert labels.tolist() == ["1", "missing", "missing", "2"]
    assert "2 of 4 samples name no cluster" in notes[0]


def test_what_is_said_of_people_stands_in_the_subject():
    x, y = np.eye(4, dtype=np.float32), np.arange(4)
    subject = audit.Subject(
        torch.nn.Linear(4, 4), x, y, sensitive={"sex": ["F", None, "M", np.nan]}
    )
    assert subject.sensitive["sex"].tolist() == ["F", "missing", "M", "missing"]
    assert any("missing for 2 of 4" in note for note in subject.summary().notes)


def test_edges_are_as_round_as_the_numbers_allow():
    rng = np.random.default_rng(0)
    for values, digits in ((rng.uniform(18, 90, 999), 0), (rng.uniform(0, 1, 999), 2)):
        note = group_labels(values, 999, "age")[1][0]
        edges = [float(e) for e in note.split("[")[-1].split("]")[0].split(",")]
        assert np.allclose(edges, np.round(edges, digits), atol=1e-12)


def test_the_edges_of_bins_are_written_as_they_are_read():
    import tomllib

    from audit.initialising import toml

    bins = {"age": [30.0, 50.0], 'years at "work"': [2.5]}
    assert tomllib.loads(f"sensitive_bins = {toml(bins)}")["sensitive_bins"] == bins
