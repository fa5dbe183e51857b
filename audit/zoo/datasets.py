"""The bundled data that reference models are trained on and evaluated with, each split once.

Every function returns (training data, evaluation data); where each file comes from and under which
licence is in `data/LICENCES.md`.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np

from audit.data import Dataset
from audit.meta import Feature, InputMeta, Preprocess, SubjectMeta

DATA = Path(__file__).parent / "data"
Splits = tuple[Dataset, Dataset]

TEN = [str(i) for i in range(10)]
DIGITS = SubjectMeta(
    task="multiclass",
    output="logits",
    classes=TEN,
    input=InputMeta(
        kind="image",
        shape=[1, 8, 8],
        dtype="float32",
        range=(0, 16),
        preprocess=Preprocess(scale=1 / 16),
    ),
)
DIGITS_SOURCE = (
    "scikit-learn `load_digits` (UCI optical recognition of handwritten digits, CC BY 4.0)"
)
DIGITS_LIMITS = "8x8 pixels, one scanner, no writer identity: nothing follows for other handwriting"


def digits() -> Splits:
    """1,197 digits of 8x8 to train on and 600 to evaluate on, split by a fixed permutation."""
    images, labels = arrays("digits.npz")
    x = images[:, None].astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    y = labels[order].astype(np.int64)
    return splits("scikit-learn digits", x[order], y, len(x) - 600, last_first=True)


SCENES = SubjectMeta(
    task="segmentation",
    output="logits",
    class_axis="first",
    classes=["background", *TEN],
    input=InputMeta(kind="image", shape=[1, 24, 24], dtype="float32", range=(0, 1)),
)


def scenes() -> Splits:
    """1,500 pictures of up to three digits each to train on, 300 to evaluate on; of which is each pixel?

    Digits to evaluate on are never trained on.
    """
    train, test = digits()
    return (
        in_scenes(train, 1500, "Digits in scenes, training"),
        in_scenes(test, 300, "Digits in scenes, evaluation"),
    )


def in_scenes(data: Dataset, n: int, name: str) -> Dataset:
    """Pictures [n, 1, 24, 24] in [0, 1], and the class of each pixel [n, 24, 24]: 0, or 1 + the digit.

    Three digits lie somewhere in three of the picture's nine squares, one in four of them left out.
    """
    rng = np.random.default_rng(0)
    x, digit = np.asarray(data.x)[:, 0] / 16, np.asarray(data.y)
    pictures, labels = np.zeros((n, 24, 24), np.float32), np.zeros((n, 24, 24), np.int64)
    for picture, label in zip(pictures, labels, strict=True):
        for number, square in enumerate(rng.permutation(9)[:3]):
            at = (
                slice(8 * (square // 3), 8 * (square // 3) + 8),
                slice(8 * (square % 3), 8 * (square % 3) + 8),
            )
            drawn = int(rng.integers(len(x)))
            if number and rng.random() < 0.25:
                continue
            picture[at] = x[drawn]
            label[at] = np.where(x[drawn] > 0.25, digit[drawn] + 1, 0)
    noise = rng.normal(0, 0.05, pictures.shape).astype(np.float32)
    return Dataset(np.clip(pictures + noise, 0, 1)[:, None], labels, name=name)


NUMBERS = SubjectMeta(
    task="embedding",
    output="value",
    similarity="cosine",
    input=InputMeta(
        kind="image",
        shape=[1, 8, 24],
        dtype="float32",
        range=(0, 16),
        preprocess=Preprocess(scale=1 / 16),
    ),
)


def numbers() -> Splits:
    """Three digits side by side: 2,800 pictures of 100 numbers to train on, 300 of 100 others to evaluate on.

    The digits are those of `digits`; of the evaluation each is in one picture or two.
    """
    train, test = digits()
    rng = np.random.default_rng(0)
    held_out, seen = np.split(rng.permutation(1000)[:200], 2)
    return (
        side_by_side(train, np.repeat(seen, 28), rng, "Numbers, training"),
        side_by_side(test, np.repeat(held_out, 3), rng, "Numbers, evaluation"),
    )


def side_by_side(data: Dataset, wanted: np.ndarray, rng: np.random.Generator, name: str) -> Dataset:
    """Pictures of numbers, of digits that are all used before any is used again."""
    places = np.concatenate([wanted // 100, wanted // 10 % 10, wanted % 10])
    chosen = np.empty(len(places), dtype=np.intp)
    for digit in range(10):
        own, where = np.flatnonzero(data.y == digit), np.flatnonzero(places == digit)
        turns = [rng.permutation(own) for _ in range(-(-len(where) // len(own)))]
        chosen[where] = np.concatenate(turns)[: len(where)]
    pictures = np.split(data.x[chosen], 3)
    return Dataset(np.concatenate(pictures, 3), wanted.astype(np.int64), name=name)


PRESENT = SCENES.model_copy(update={"task": "multilabel", "class_axis": None, "classes": TEN})


def present() -> Splits:
    """The pictures of `scenes`; which of the ten digits are in each?"""
    train, test = scenes()
    return named(train), named(test)


def named(scene: Dataset) -> Dataset:
    """[n, 10] is the digit in the picture?"""
    pixels = np.asarray(scene.y).reshape(len(scene.y), -1)
    there = np.stack([(pixels == 1 + digit).any(1) for digit in range(10)], 1)
    return Dataset(scene.x, there.astype(np.int64), name=scene.name)


MNIST = SubjectMeta(
    task="multiclass",
    output="logits",
    classes=TEN,
    # Strokes are thick and grounds are black: a fifth of the range leaves every digit readable.
    input=InputMeta(kind="image", shape=[1, 28, 28], dtype="float32", range=(0, 1), eps=0.2),
)
MNIST_SOURCE = "MNIST (LeCun, Cortes and Burges), CC BY-SA 3.0: 5,000 of 70,000 drawn at random"


@functools.cache
def mnist() -> Splits:
    """4,000 digits of 28x28 in [0, 1] to train on and 1,000 to evaluate on."""
    x, y = arrays("mnist.npz")
    return splits("MNIST", x[:, None].astype(np.float32) / 255, y.astype(np.int64), 4000)


VOWELS = SubjectMeta(
    task="multiclass",
    output="logits",
    classes=[f"speaker {i}" for i in range(1, 10)],
    input=InputMeta(kind="sequence", shape=[29, 12], dtype="float32", range=(-2.5, 2.5)),
)
VOWELS_SOURCE = "Japanese Vowels (Kudo, Toyama and Shimbo 1999), CC BY 4.0, as published"
VOWELS_LIMITS = "nine men and one vowel pair: nothing follows for other voices"


def vowels() -> Splits:
    """270 utterances to train on and 370 to evaluate on, as published; short ones end in zeros."""
    x, y = arrays("vowels.npz")
    return splits("Japanese Vowels", x.astype(np.float32), y.astype(np.int64), 270)


TURNS = VOWELS.model_copy(
    update={
        "task": "sequence_labelling",
        "class_axis": "last",
        "input": InputMeta(kind="sequence", shape=[58, 12], dtype="float32", range=(-2.5, 2.5)),
    }
)
IGNORED = -100  # the label of a step that is padding


def turns() -> Splits:
    """Two utterances, one after the other: 540 pairs to train on, 185 to evaluate on, none in two of them.

    Who speaks at each step?
    """
    train, test = vowels()
    return (
        in_turns(train, 4, "Japanese Vowels in turns, training"),
        in_turns(test, 1, "Japanese Vowels in turns, evaluation"),
    )


def in_turns(data: Dataset, rounds: int, name: str) -> Dataset:
    """Pairs of utterances [n, 58, 12], and the speaker of each step [n, 58]; each is in one pair a round."""
    x, speakers = np.asarray(data.x), np.asarray(data.y)
    lengths = x.shape[1] - (x == 0).all(2)[:, ::-1].argmin(1)
    rng = np.random.default_rng(0)
    even = len(x) - len(x) % 2
    pairs = np.concatenate([rng.permutation(len(x))[:even].reshape(-1, 2) for _ in range(rounds)])
    series = np.zeros((len(pairs), 2 * x.shape[1], x.shape[2]), np.float32)
    labels = np.full(series.shape[:2], IGNORED, np.int64)
    for row, (first, second) in enumerate(pairs):
        cut, end = lengths[first], lengths[first] + lengths[second]
        series[row, :end] = np.concatenate([x[first, :cut], x[second, : end - cut]])
        labels[row, :cut], labels[row, cut:end] = speakers[first], speakers[second]
    return Dataset(series, labels, name=name)


SNIPPETS = SubjectMeta(
    task="binary",
    output="logits",
    classes=["negative", "positive"],
    input=InputMeta(
        kind="tokens",
        shape=[32],
        dtype="int64",
        vocabulary=(DATA / "snippets.txt").read_text(encoding="utf-8").splitlines(),
    ),
)
SNIPPETS_SOURCE = (
    "movie review snippets rated by twenty people each (Hutto and Gilbert 2014, MIT): 10,209 whose "
    "mean rating lies at least 0.4 from neutral"
)
SNIPPETS_LIMITS = (
    "English of film critics, the 4,000 most frequent words, 32 of each sentence; irony is missed"
)
VOCABULARY = 4000


def snippets() -> Splits:
    """8,209 sentences to train on and 2,000 to evaluate on: word numbers, 0 where a sentence ends."""
    x, y = arrays("snippets.npz")
    return splits("Movie snippets", x.astype(np.int64), y.astype(np.int64), 8209)


def shuttle() -> Splits:
    """6,000 normal readings to train on; 3,000 to evaluate on, 7 % of them anomalies."""
    x, y = arrays("shuttle.npz")
    return splits("Shuttle", x.astype(np.float32), y.astype(np.int64), 6000)


BACK, AHEAD = 104, 26  # weeks that a forecast of carbon dioxide is made from, and for


@functools.cache
def co2() -> Splits:
    """Windows of two years of weekly carbon dioxide, and the half year after each.

    1,371 that end by 1986 to train on, and 655 after that to evaluate on; none of the ones overlaps one of
    the others.
    """
    with np.load(DATA / "co2.npz", allow_pickle=False) as held:
        weeks = held["x"].astype(np.float32)

    def windows(series: np.ndarray, name: str) -> Dataset:
        cut = np.lib.stride_tricks.sliding_window_view(series, BACK + AHEAD)
        x, y = cut[:, :BACK, None].copy(), cut[:, BACK:].copy()
        return Dataset(x, y, name=f"Mauna Loa, {name}")

    return windows(weeks[:1500], "training"), windows(weeks[1500:], "evaluation")


def table(name: str, file: str, meta: SubjectMeta, train: int) -> Splits:
    """The first `train` rows of a bundled table to train on, the others to evaluate on."""
    import pandas as pd

    from audit.data.table import from_frame

    frame = pd.read_parquet(DATA / f"{file}.parquet")
    return (
        from_frame(frame[:train].reset_index(drop=True), meta, f"{name}, training"),
        from_frame(frame[train:].reset_index(drop=True), meta, f"{name}, evaluation"),
    )


def features(file: str) -> list[Feature]:
    """How a bundled table's columns are encoded; mean and std are those of the training rows."""
    return [Feature.model_validate(f) for f in json.loads((DATA / f"{file}.json").read_text())]


def width(columns: list[Feature]) -> int:
    """Columns of a table whose features these are."""
    return 1 + max(c for f in columns for c in f.columns)


def standardised(columns: list[Feature]) -> InputMeta:
    """Rows whose numeric columns the network takes standardised, whose categories as they are."""
    mean, std = [0.0] * width(columns), [1.0] * width(columns)
    for feature in columns:
        if feature.kind == "numeric":
            mean[feature.columns[0]] = float(feature.mean or 0.0)
            std[feature.columns[0]] = float(feature.std or 1.0)
    return InputMeta(
        kind="tabular",
        shape=[width(columns)],
        dtype="float32",
        preprocess=Preprocess(mean=mean, std=std),
    )


def arrays(file: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels of a bundled file."""
    with np.load(DATA / file, allow_pickle=False) as held:
        return held["x"], held["y"]


def splits(
    name: str, x: np.ndarray, y: np.ndarray, train: int, *, last_first: bool = False
) -> Splits:
    """Training and evaluation samples: the first `train`, or the last."""
    one, two = slice(None, train), slice(train, None)
    if last_first:
        one, two = slice(len(x) - train, None), slice(None, len(x) - train)
    return (
        Dataset(x[one], y[one], name=f"{name}, training"),
        Dataset(x[two], y[two], name=f"{name}, evaluation"),
    )
