"""Arrays by the names that people give them, in every file that holds arrays."""

import os
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import Subset, TensorDataset

from audit.data import read_data
from audit.errors import AuditError
from audit.loading import load
from audit.meta import SubjectMeta

X, Y = np.arange(8.0, dtype="f4").reshape(4, 2), np.array([0, 1, 1, 0])
OTHER = X + 100


def read(path, training=False, **meta):
    return read_data(str(path), SubjectMeta.model_validate(meta), training=training)


def saved(path, **arrays):
    if path.suffix == ".pt":
        torch.save({k: torch.tensor(v) for k, v in arrays.items()}, path)
    else:
        np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("x", "y"),
        ("X", "y"),
        ("images", "labels"),
        ("inputs", "targets"),
        ("features", "label"),
        ("data", "target"),
        ("X_test", "y_test"),
        ("x_val", "y_val"),
        ("test_images", "test_labels"),
        ("testData", "testLabels"),
        ("Xtest", "ytest"),
    ],
)
def test_usual_names_are_read_and_told(tmp_path, suffix, x, y):
    found = read(saved(tmp_path / f"d{suffix}", **{x: X, y: Y}))
    assert np.asarray(found.x).tolist() == X.tolist()
    assert np.asarray(found.y).tolist() == Y.tolist()
    assert bool(found.notes) == (x != "x")


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_the_part_that_is_wanted_is_read_and_the_others_are_named(tmp_path, names):
    path = saved(tmp_path / "d.npz", **dict(zip(names, (OTHER, 1 - Y, X, Y), strict=True)))
    held_out, learnt = read(path), read(path, training=True)
    assert held_out.x.tolist() == X.tolist()
    assert held_out.y.tolist() == Y.tolist()
    assert learnt.x.tolist() == OTHER.tolist()
    assert learnt.y.tolist() == (1 - Y).tolist()
    assert f"Not read: `{names[0]}`, `{names[1]}` (--train-data d.npz" in held_out.notes[0]
    assert f"Not read: `{names[2]}`" in learnt.notes[0]


def test_tests_come_before_validation(tmp_path):
    path = saved(tmp_path / "d.npz", val_x=OTHER, val_y=Y, test_x=X, test_y=Y)
    assert read(path).x.tolist() == X.tolist()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            {"images": X, "features": OTHER, "y": Y},
            r"images, features, any .* arrays = \{x = \"images\"\}",
        ),
        ({"x": X, "x_test": X, "y": Y, "y_test": Y}, "x, x_test, any of which may be the samples"),
        ({"x_train": X, "y_train": Y}, r"x_train, any .* arrays = \{x = \"x_train\"\}"),
        (
            {"x": X, "labels": Y, "targets": Y},
            r"labels, targets, any .* arrays = \{y = \"labels\"\}",
        ),
        ({"X_test": X, "y_val": Y, "y_train": Y}, "y_val, y_train, any of which may be the labels"),
        ({"embeddings": X, "y": Y}, "embeddings, y and no array `x`"),
    ],
)
def test_what_could_be_meant_in_two_ways_is_asked_for(tmp_path, arrays, words):
    with pytest.raises(AuditError, match=words) as caught:
        read(saved(tmp_path / "d.npz", **arrays))
    assert "\n" not in str(caught.value)


def test_an_array_is_read_that_is_called_as_the_model_calls_its_input(tmp_path):
    path = saved(tmp_path / "d.npz", input_ids=X, labels=Y)
    found = read_data(str(path), SubjectMeta(), takes={"input_ids", "labels"})
    assert (found.x.tolist(), found.y.tolist()) == (X.tolist(), Y.tolist())
    with pytest.raises(AuditError, match="no array `x`"):
        read_data(str(path), SubjectMeta(), takes={"x"})


@pytest.mark.parametrize("other", ["weight", "masks"])
def test_an_array_that_is_no_input_is_told_apart_with_a_line_to_write(tmp_path, other):
    data = saved(tmp_path / "d.npz", x=X, **{other: Y})
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "m.pt")
    with pytest.raises(AuditError, match=r'arrays = \{x = "x", y = "…"\} under \[subject\]'):
        load(tmp_path / "m.pt", arch="tests.data.test_roles:two_to_two", data=str(data))


def two_to_two():
    return torch.nn.Linear(2, 2)


def test_what_is_said_is_read(tmp_path):
    path = saved(tmp_path / "d.npz", embeddings=X, gold=Y, weight=Y)
    found = read(path, arrays={"x": "embeddings", "y": "gold"})
    assert (found.x.tolist(), found.y.tolist()) == (X.tolist(), Y.tolist())
    assert any("`weight`" in note for note in found.notes)
    assert read(path, arrays={"x": "embeddings", "y": ""}).y is None
    assert read(path, arrays={"x": "embeddings"}, target="gold").y.tolist() == Y.tolist()
    with pytest.raises(AuditError, match=r"no array `golden`; correct \[subject\] arrays\.y"):
        read(path, arrays={"x": "embeddings", "y": "golden"})


def test_an_array_names_the_classes(tmp_path):
    named = np.array(["cat", "dog"])
    path = saved(tmp_path / "d.npz", images=X, labels=named[Y], class_names=named[::-1])
    found = read(path)
    assert found.classes == ["dog", "cat"]
    assert found.y.tolist() == (1 - Y).tolist()


# An array a file


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
@pytest.mark.parametrize(
    ("x", "y"), [("x", "y"), ("X_test", "y_test"), ("test_images", "test_labels")]
)
def test_a_pair_of_files(tmp_path, suffix, x, y):
    for name, array in ((x, X), (y, Y), ("X_train", OTHER), ("y_train", 1 - Y), ("group", Y)):
        np.save(tmp_path / f"{name}.npy", array)
        torch.save(torch.tensor(array), tmp_path / f"{name}.pt")
    found = read(tmp_path / f"{x}{suffix}")
    assert np.asarray(found.x).tolist() == X.tolist()
    assert np.asarray(found.y).tolist() == Y.tolist()
    assert np.asarray(found.groups).tolist() == Y.tolist()
    assert f"{y}{suffix}, beside {x}{suffix}" in found.notes[-1]


def test_a_folder_of_arrays(tmp_path):
    for name, array in (("X_test", X), ("y_test", Y), ("X_train", OTHER), ("y_train", 1 - Y)):
        np.save(tmp_path / f"{name}.npy", array)
    assert read(tmp_path).x.tolist() == X.tolist()
    assert read(tmp_path, training=True).x.tolist() == OTHER.tolist()


def test_which_file_holds_the_labels_is_asked_for_or_said(tmp_path):
    np.save(tmp_path / "scans.npy", X)
    assert read(tmp_path / "scans.npy").y is None
    np.save(tmp_path / "gold.npy", Y)
    with pytest.raises(AuditError, match=r'open \(gold\.npy\); write arrays = \{y = "gold\.npy"\}'):
        read(tmp_path / "scans.npy")
    assert read(tmp_path / "scans.npy", arrays={"y": "gold.npy"}).y.tolist() == Y.tolist()
    assert read(tmp_path / "scans.npy", arrays={"y": ""}).y is None
    with pytest.raises(AuditError, match="There is no file"):
        read(tmp_path / "scans.npy", arrays={"y": "gone.npy"})


# What torch.save wrote


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda x, y: (x, y),
        lambda x, y: [x, y],
        TensorDataset,
        lambda x, y: {"x": x, "y": y.tolist()},
    ],
)
def test_samples_that_torch_saved(tmp_path, wrapped):
    torch.save(wrapped(torch.tensor(X), torch.tensor(Y)), tmp_path / "d.pt")
    found = read(tmp_path / "d.pt")
    assert np.asarray(found.x).tolist() == X.tolist()
    assert np.asarray(found.y).tolist() == Y.tolist()


@pytest.mark.parametrize(
    ("saved_", "words"),
    [
        (
            Subset(TensorDataset(torch.tensor(X), torch.tensor(Y)), [1]),
            "not samples and labels alone",
        ),
        (TensorDataset(torch.tensor(X), torch.tensor(Y), torch.tensor(Y)), "save a dictionary"),
        ({"test": (torch.tensor(X), torch.tensor(Y))}, "tensors in `test`"),
        ({"x": torch.tensor(X), "y": {"a": 1}}, "single value"),
        ({"epoch": 3}, "no tensors"),
        (os, "cannot pickle|not opened"),
    ],
)
def test_what_is_no_samples_is_one_sentence(tmp_path, saved_, words):
    if saved_ is os:
        (tmp_path / "d.pt").write_bytes(pickle.dumps(os.system))
        words = "not opened"
    else:
        torch.save(saved_, tmp_path / "d.pt")
    with pytest.raises(AuditError, match=words) as caught:
        read(tmp_path / "d.pt")
    assert "\n" not in str(caught.value)


def test_a_payload_among_samples_does_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"x": torch.tensor(X), "y": Payload()}, tmp_path / "d.pt")
    with pytest.raises(AuditError, match=r"calls posix\.system"):
        read(tmp_path / "d.pt")
    np.save(tmp_path / "x.npy", np.array([Payload()], dtype=object), allow_pickle=True)
    with pytest.raises(AuditError, match="unpickled"):
        read(tmp_path / "x.npy")
    assert not (tmp_path / "ran").exists()


def test_labels_of_another_part_of_the_data_are_not_taken_for_those_of_the_samples(tmp_path):
    path = saved(tmp_path / "data.npz", x_test=X, y_train=Y)
    with pytest.raises(AuditError, match="y_train, any of which may be the labels"):
        read(path)
    assert read(path, arrays={"y": "y_train"}).y is not None


def test_a_pipe_beside_samples_is_not_waited_for(tmp_path):
    np.save(tmp_path / "x_test.npy", X)
    os.mkfifo(tmp_path / "y_test.npy")
    assert read(tmp_path / "x_test.npy").y is None


def test_names_of_classes_may_be_bytes(tmp_path):
    names = np.array(["née".encode(), b"b", b"b", b"b"])
    path = saved(tmp_path / "data.npz", x=X, y=names)
    assert list(read(path, classes=["b", "née"]).y) == [1, 0, 0, 0]
    path = saved(tmp_path / "other.npz", x=X, y=np.array([b"\xff", b"b", b"b", b"b"]))
    with pytest.raises(AuditError, match="bytes that are no UTF-8"):
        read(path)
