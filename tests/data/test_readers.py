"""Every reader on a good file, and a sentence for each bad one."""

import io
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from audit.data import read_data
from audit.errors import AuditError
from audit.meta import SubjectMeta
from audit.subject import Subject

FEATURES = [
    {"name": "age", "columns": [0]},
    {"name": "job", "columns": [1, 2], "kind": "categorical", "categories": ["cook", "nurse"]},
]


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "age": [30, 41, 52],
            "job": ["nurse", "cook", "nurse"],
            "sex": ["F", "M", "F"],
            "paid": ["no", "yes", "no"],
            "person": [1, 1, 2],
        }
    )


META = SubjectMeta.model_validate(
    {
        "features": FEATURES,
        "target": "paid",
        "classes": ["no", "yes"],
        "sensitive": ["sex"],
        "groups": "person",
    }
)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_are_encoded(tmp_path, frame, suffix):
    path = tmp_path / f"t.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    found = read_data(str(path), META)
    assert found.x.tolist() == [[30, 0, 1], [41, 1, 0], [52, 0, 1]]
    assert list(found.y) == [0, 1, 0]
    assert list(found.sensitive["sex"]) == ["F", "M", "F"]
    assert [str(person) for person in found.groups] == ["1", "1", "2"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            ["a", "b", "income"],
            r"no column called target, label or y; its columns are a, b, income",
        ),
        (["a", "target", "label"], r"several columns that may hold the labels \(target, label\)"),
    ],
)
def test_a_table_whose_labels_nobody_names_is_asked_about(tmp_path, columns, message):
    path = tmp_path / "t.csv"
    pd.DataFrame(np.eye(3, dtype=int), columns=columns).to_csv(path, index=False)
    with pytest.raises(AuditError, match=message + r".*\[subject\] target"):
        read_data(str(path), SubjectMeta())
    assert read_data(str(path), SubjectMeta(target=columns[2])).x.shape == (3, 2)
    assert read_data(str(path), SubjectMeta(target="")).y is None


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        (["0", "1", "-1"], "i"),
        (["0.5", ".25", "3"], "f"),
        (["1.0", "0.0", "1.0"], "f"),
    ],
)
def test_labels_are_numbers_where_all_are(tmp_path, written, kind):
    path = tmp_path / "t.csv"
    pd.DataFrame({"a": [1, 2, 3], "y": written}).to_csv(path, index=False)
    found = read_data(str(path), SubjectMeta())
    assert found.y.dtype.kind == kind
    assert found.y.tolist() == [float(w) for w in written]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_without_a_label_are_asked_about(tmp_path, frame, suffix):
    frame.loc[1, "paid"] = None
    path = tmp_path / f"t.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    with pytest.raises(AuditError, match=r"1 of 3 rows of .* have no label in 'paid'"):
        read_data(str(path), META)


@pytest.mark.parametrize("suffix", ["CSV", "Parquet", "NPZ"])
def test_a_suffix_may_be_in_capitals(tmp_path, frame, suffix):
    path = tmp_path / f"DATA.{suffix}"
    if suffix == "NPZ":
        with path.open("wb") as file:
            np.savez(file, x=np.ones((3, 3)))
    else:
        frame.to_csv(path, index=False) if suffix == "CSV" else frame.to_parquet(path)
    assert read_data(str(path), META if suffix != "NPZ" else SubjectMeta()).x.shape == (3, 3)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_empty_cell_of_a_category_is_no_text(tmp_path, frame, suffix):
    """ "NA" may be a category; an empty cell is the one that stands for it, or is asked about."""
    frame["job"] = ["NA", None, "cook"]
    path = tmp_path / f"t.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)

    def read(categories):
        job = {
            **FEATURES[1],
            "columns": list(range(1, 1 + len(categories))),
            "categories": categories,
        }
        meta = META.model_copy(update={"features": None})
        return read_data(str(path), meta.over(SubjectMeta(features=[FEATURES[0], job]))).x[:, 1:]

    assert read(["NA", "cook", "missing"]).argmax(1).tolist() == [0, 2, 1]
    assert read(["nan", "NA", "cook"]).argmax(1).tolist() == [1, 0, 2]
    with pytest.raises(AuditError, match="is empty in 1 rows and none of its categories"):
        read(["NA", "cook"])


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
        ({"paid": ["maybe", "yes", "no"]}, "labels of t.csv hold 'maybe'"),
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
    arrays = {
        "x": np.ones((4, 2), np.float32),
        "y": np.arange(4),
        "group": np.zeros(4),
        "sensitive_sex": np.arange(4) % 2,
    }
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


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (["x.npy", "x.npy"], "holds the array 'x' more than once"),
        (["x.npy", "notes.txt"], "holds 'notes.txt', which is no array"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_an_npz_that_leave_open_what_is_meant(tmp_path, members, message):
    array = io.BytesIO()
    np.save(array, np.ones((2, 2)))
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as file:
        for member in members:
            file.writestr(member, array.getvalue())
    with pytest.raises(AuditError, match=message):
        read_data(str(tmp_path / "d.npz"), SubjectMeta())


def test_labels_alone_are_no_data(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, y=np.ones(2))
    with pytest.raises(AuditError, match="no array `x`"):
        read_data(str(path), SubjectMeta())


def test_an_array_of_no_meaning_is_an_input_which_a_model_of_one_does_not_take(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, x=np.ones((2, 2)), z=np.ones(2))
    read = read_data(str(path), SubjectMeta())
    assert sorted(read.x) == ["x", "z"]

    class One(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x)

    with pytest.raises(
        AuditError, match="takes \\(x\\) and the data hold 'z', which it does not take"
    ):
        Subject(One(2, 2), read.x)


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


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("key", ["y", "group", "sensitive_sex"])
@pytest.mark.parametrize("length", [29, 31])
def test_arrays_of_other_lengths_are_refused_with_the_file_and_the_array(
    tmp_path, suffix, key, length
):
    arrays = {"x": np.zeros((30, 2), np.float32), key: np.zeros(length, np.int64)}
    path = tmp_path / f"lengths{suffix}"
    (np.savez(path, **arrays) if suffix == ".npz" else save_file(arrays, path))
    words = rf"lengths{suffix}: `{key}` holds {length} entries, and `x` holds 30 samples"
    with pytest.raises(AuditError, match=words):
        read_data(str(path), SubjectMeta())


def test_columns_of_lists_are_several_inputs(tmp_path):
    frame = pd.DataFrame(
        {
            "ids": [[1, 2, 3], [4, 5, 0]],
            "mask": [[1, 1, 1], [1, 1, 0]],
            "age": [3.5, 4.5],
            "label": [0, 1],
        }
    )
    frame.to_parquet(tmp_path / "d.parquet")
    read = read_data(str(tmp_path / "d.parquet"), SubjectMeta())
    assert read.x["ids"].tolist() == [[1, 2, 3], [4, 5, 0]]
    assert read.x["mask"].shape == (2, 3)
    assert read.x["age"].tolist() == [3.5, 4.5]
    assert list(read.y) == [0, 1]
    frame["ids"] = [[1, 2, 3], [4, 5]]
    frame.to_parquet(tmp_path / "r.parquet")
    with pytest.raises(AuditError, match="lists of 2 lengths"):
        read_data(str(tmp_path / "r.parquet"), SubjectMeta())


def test_an_empty_cell_is_missing_and_a_text_is_no_number(tmp_path):
    """Whether the model takes what is missing, the model tells."""
    (tmp_path / "d.csv").write_text("age,debt,target\n1,2,0\n,3,1\n")
    x = read_data(str(tmp_path / "d.csv"), SubjectMeta()).x
    assert np.isnan(x[1, 0])
    assert not np.isnan(x[[0, 0, 1], [0, 1, 1]]).any()
    (tmp_path / "t.csv").write_text("age,debt,target\n1,2,0\nold,3,1\n")
    with pytest.raises(AuditError, match="holds 'old' where a number is due"):
        read_data(str(tmp_path / "t.csv"), SubjectMeta())
