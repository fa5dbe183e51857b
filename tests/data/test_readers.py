"""Every reader on a good file, and a sentence for each bad one."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import save_file

from audit.data import read_data
from audit.errors import AuditError
from audit.meta import SubjectMeta

FEATURES = [
    {"name": "age", "columns": [0]},
    {"name": "job", "columns": [1, 2], "kind": "categorical", "categories": ["cook", "nurse"]},
]


@pytest.fixture
def frame():
    return pd.DataFrame({
        "age": [30, 41, 52], "job": ["nurse", "cook", "nurse"], "sex": ["F", "M", "F"],
        "paid": ["no", "yes", "no"], "person": [1, 1, 2],
    })  # fmt: skip


META = SubjectMeta.model_validate({
    "features": FEATURES, "target": "paid", "classes": ["no", "yes"], "sensitive": ["sex"],
    "groups": "person",
})  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_are_encoded(tmp_path, frame, suffix):
    path = tmp_path / f"t.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    found = read_data(str(path), META)
    assert found.x.tolist() == [[30, 0, 1], [41, 1, 0], [52, 0, 1]]
    assert list(found.y) == [0, 1, 0]
    assert list(found.sensitive["sex"]) == ["F", "M", "F"]
    assert list(found.groups) == [1, 1, 2]


def test_unnamed_columns_become_features_of_their_name(tmp_path):
    path = tmp_path / "t.csv"
    pd.DataFrame({"a": [1, 2], "b": [3, 4], "label": [0, 1]}).to_csv(path, index=False)
    found = read_data(str(path), SubjectMeta())
    assert [f.name for f in found.features] == ["a", "b"]
    assert list(found.y) == [0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": ["x", "41", "52"]}, "'x' where a number is due"),
        ({"job": ["pilot", "cook", "nurse"]}, "'pilot', which is not among its categories"),
        ({"paid": ["maybe", "yes", "no"]}, "the label 'maybe'"),
        ({"sex": None}, "no column 'sex'"),
        ({"job": None}, "no column 'job'"),
    ],
)
def test_bad_tables_get_a_sentence(tmp_path, frame, change, message):
    for key, values in change.items():
        frame = frame.drop(columns=key) if values is None else frame.assign(**{key: values})
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(AuditError, match=message):
        read_data(str(path), META)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_arrays(tmp_path, suffix):
    path = tmp_path / f"d.{suffix}"
    arrays = {"x": np.ones((4, 2), np.float32), "y": np.arange(4), "group": np.zeros(4),
              "sensitive_sex": np.arange(4) % 2}  # fmt: skip
    np.savez(path, **arrays) if suffix == "npz" else save_file(arrays, path)
    found = read_data(str(path), SubjectMeta())
    assert found.x.shape == (4, 2)
    assert list(found.sensitive) == ["sex"]
    assert found.groups is not None


def test_pickled_arrays_are_refused(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(AuditError, match="unpickled"):
        read_data(str(path), SubjectMeta())


@pytest.mark.parametrize("arrays", [{"y": np.ones(2)}, {"x": np.ones((2, 2)), "z": np.ones(2)}])
def test_missing_and_unknown_arrays(tmp_path, arrays):
    path = tmp_path / "d.npz"
    np.savez(path, **arrays)
    with pytest.raises(AuditError):
        read_data(str(path), SubjectMeta())


def test_named_clusters_must_be_there(tmp_path):
    """Without them every interval would be too narrow, in silence."""
    path = tmp_path / "d.npz"
    np.savez(path, x=np.ones((2, 2)), patient=np.arange(2))
    assert list(read_data(str(path), SubjectMeta(groups="patient")).groups) == [0, 1]
    with pytest.raises(AuditError, match="no array `writer`"):
        read_data(str(path), SubjectMeta(groups="writer"))


def test_folder_of_class_folders(tmp_path):
    for name, shade in (("cat", 10), ("dog", 200)):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("L", (5, 4), shade).save(tmp_path / name / f"{i}.png")
    found = read_data(str(tmp_path), SubjectMeta(classes=["dog", "cat"]))
    assert found.x.shape == (4, 1, 4, 5)
    assert list(found.y) == [1, 1, 0, 0]
    assert found.x[0].max() == 10
    with pytest.raises(AuditError, match=r"'cat' in .* is not among the classes"):
        read_data(str(tmp_path), SubjectMeta(classes=["dog", "cow"]))


def test_callable_of_the_working_directory(here):
    (here / "mydata.py").write_text(
        "import numpy as np\ndef load():\n    return {'x': np.ones((3, 2)), 'y': np.arange(3)}\n"
        "def broken():\n    raise RuntimeError('no disk')\ndef odd():\n    return 3\n"
    )
    assert read_data("mydata:load", SubjectMeta()).x.shape == (3, 2)
    with pytest.raises(AuditError, match="no disk"):
        read_data("mydata:broken", SubjectMeta())
    with pytest.raises(AuditError, match="returned int"):
        read_data("mydata:odd", SubjectMeta())
    with pytest.raises(AuditError, match="has no 'gone'"):
        read_data("mydata:gone", SubjectMeta())
    with pytest.raises(AuditError, match="no module 'nowhere'"):
        read_data("nowhere:load", SubjectMeta())


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(AuditError, match="no data file"):
        read_data(str(tmp_path / "gone.npz"), SubjectMeta())
    (tmp_path / "a.xlsx").write_text("x")
    with pytest.raises(AuditError, match="convert the file"):
        read_data(str(tmp_path / "a.xlsx"), SubjectMeta())
    (tmp_path / "a.npz").write_text("x")
    with pytest.raises(AuditError, match="damaged"):
        read_data(str(tmp_path / "a.npz"), SubjectMeta())
