"""The user's own data in each form: bytes, labels and parts as described, and all that is wrong."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deploy.errors import UserError
from training import export, train
from training.config import DataConfig, load_config
from training.own_data import load_own


def load(path: Path, **config: Any) -> Any:
    return load_own(DataConfig(name="own", path=str(path), **config))


def write_csv(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["a,kind,b", *rows]) + "\n")
    return path


GOOD_ROWS = ("1,cat,10", "2,dog,20", "3,cat,30", "4,dog,50")


def test_csv_features_become_bytes_by_the_training_rows(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", *GOOD_ROWS, "", '2.5,"cat",15')
    data = load(path, label_column="kind", test_share=0.4)
    assert data.class_names == ("cat", "dog")
    assert data.shape == (2,)
    rows = {(1, 10): 0, (2, 20): 1, (3, 30): 0, (4, 50): 1, (2.5, 15): 0}
    assert (len(data.train_labels), len(data.test_labels)) == (3, 2)
    assert sorted([*data.train_labels, *data.test_labels]) == [0, 0, 0, 1, 1]
    # Whichever rows train, their least is 0 and their greatest 255, and the rest lie as they must.
    found = {tuple(row) for row in data.train_images.tolist()}
    fits = [
        keys
        for keys in itertools.combinations(rows, 3)
        if {tuple(r) for r in scaled(np.array(keys)).tolist()} == found
    ]
    assert fits
    assert data.train_images.min() == 0
    assert data.train_images.max() == 255


def scaled(rows: np.ndarray) -> np.ndarray:
    low, high = rows.min(0), rows.max(0)
    return np.rint(255 * (rows - low) / (high - low)).astype(np.uint8)


def test_npz_in_parts_is_kept_in_parts(tmp_path: Path) -> None:
    images = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2)
    path = tmp_path / "d.npz"
    np.savez(
        path,
        train_images=images[:4],
        train_labels=[0, 1, 2, 0],
        test_images=images[4:],
        test_labels=[2, 1],
        class_names=["x", "y", "z"],
    )
    data = load(path)
    assert (data.shape, data.full_scale, data.class_names) == ((2, 2, 1), 255, ("x", "y", "z"))
    assert np.array_equal(data.test_images, images[4:].reshape(2, 4))
    order = data.train_images[:, 0] // 4
    assert sorted(order) == [0, 1, 2, 3]
    assert [[0, 1, 2, 0][i] for i in order] == data.train_labels.tolist()


def test_npz_of_floats_beyond_the_training_range_is_clipped(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    train_images = np.array([[-1.0, 5.0], [1.0, 5.0], [0.0, 5.0]])
    test_images = np.array([[-9.0, 5.0], [9.0, 6.0]])
    np.savez(
        path,
        train_images=train_images,
        train_labels=[0, 1, 1],
        test_images=test_images,
        test_labels=[0, 1],
    )
    data = load(path)
    # 127.5 goes to the even neighbour; a feature that never varies is 0.
    assert sorted(data.train_images.tolist()) == [[0, 0], [128, 0], [255, 0]]
    assert data.test_images.tolist() == [[0, 0], [255, 255]]


def test_every_class_is_parted_and_nothing_is_in_both(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    images = np.arange(200, dtype=np.uint8)[:, None]
    labels = np.repeat([0, 1, 2], [100, 60, 40])
    np.savez(path, images=images, labels=labels)
    data = load(path, test_share=0.25)
    assert np.bincount(data.test_labels).tolist() == [25, 15, 10]
    seen = np.concatenate([data.train_images, data.test_images])[:, 0]
    assert sorted(seen) == list(range(200))
    assert np.array_equal(labels[data.train_images[:, 0]], data.train_labels)
    assert len(set(data.train_labels[-20:])) > 1  # Mixed: validation takes the last ones.


def write_images(root: Path, n: int = 3, mode: str = "L", side: int = 4) -> Path:
    for label, name in enumerate(("ant", "bee")):
        (root / name).mkdir(parents=True)
        for i in range(n):
            colour = 100 * label + i if mode == "L" else (100 * label + i, 7, 8)
            Image.new(mode, (side + 1, side), colour).save(root / name / f"{i}.png")
    return root


def test_folder_of_images_per_class(tmp_path: Path) -> None:
    data = load(write_images(tmp_path / "all"), test_share=0.34)
    assert (data.shape, data.class_names) == ((4, 5, 1), ("ant", "bee"))
    assert (len(data.train_labels), len(data.test_labels)) == (4, 2)
    assert (data.train_images[:, 0] // 100).tolist() == data.train_labels.tolist()
    both = tmp_path / "parted"
    write_images(both / "train", mode="RGB")
    write_images(both / "test", n=1, mode="RGB")
    data = load(both, image_size=(2, 2))
    assert (data.shape, len(data.train_labels), len(data.test_labels)) == ((2, 2, 3), 6, 2)
    assert data.test_images.tolist() == [[0, 7, 8] * 4, [100, 7, 8] * 4]


def npz(**arrays: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        np.savez(folder / "d.npz", **arrays)
        return folder / "d.npz"

    return write


def table(*rows: str) -> Callable[[Path], Path]:
    return lambda folder: write_csv(folder / "t.csv", *rows)


def broken_npz(folder: Path) -> Path:
    path = npz(images=np.zeros((4, 2)), labels=[0, 1, 0, 1])(folder)
    path.write_bytes(path.read_bytes()[:-30])
    return path


def broken_image(folder: Path) -> Path:
    root = write_images(folder / "images")
    file = root / "bee" / "1.png"
    file.write_bytes(file.read_bytes()[:40])
    return root


def other_size(folder: Path) -> Path:
    root = write_images(folder / "images")
    Image.new("L", (9, 9)).save(root / "bee" / "9.png")
    return root


X = np.zeros((4, 2))
NAN = np.where(np.arange(8).reshape(4, 2) == 5, np.nan, 0.0)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (npz(images=X, labels=[0, 1, -1, 0]), r"out of range.*-1 of sample 2.*0 to 1"),
        (
            npz(images=X, labels=[0, 1, 2, 0], class_names=["a", "b"]),
            r"out of range.*2 of sample 2",
        ),
        (npz(images=X, labels=[1, 2, 1, 2]), r"too few samples.*0 of class 0"),
        (npz(images=X, labels=[0, 0, 0, 0]), r"nothing to tell apart"),
        (npz(images=NAN, labels=[0, 1, 0, 1]), r"NaN.*1 times, first in sample 2 at \[1\]"),
        (npz(images=X, labels=[0, 1, 0]), r"not of this form.*\(4, 2\), 3 labels"),
        (npz(images=X, labels=[0.0, 1.0, 0.0, 1.0]), r"labels of float64"),
        (npz(images=X, y=[0, 1, 0, 1]), r"an array is missing.*labels"),
        (npz(train_images=X, train_labels=[0, 1, 0, 1]), r"missing.*test_images"),
        (npz(images=np.array([{}] * 4), labels=[0, 1, 0, 1]), r"corrupted.*pickle"),
        (broken_npz, r"corrupted"),
        (table("1,cat,x"), r"no numbers.*line 2.*1,cat,x"),
        (table("1,cat,2", "3,dog"), r"line 3"),
        (table("1,cat,2", "3,dog,"), r"line 3"),
        (table("1,,2"), r"no label.*line 2"),
        (table(*GOOD_ROWS[:3], "nan,dog,3"), r"NaN.*sample 3 at \[0\]"),
        (table(), r"0 rows"),
        (table("1,cat,2", "3,dog,5"), r"too few.*1 of class cat"),
        (broken_image, r"image is corrupted.*bee/1\.png"),
        (other_size, r"different sizes.*9\.png.*9 x 9.*4 x 5.*image_size"),
        (lambda folder: folder, r"holds no images"),
        (lambda folder: folder / "nowhere.npz", r"not there"),
    ],
)
def test_refused_with_the_place(
    tmp_path: Path, write: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        load(write(tmp_path), label_column="kind")


CONFIG = """
[data]
name = "own"
path = "flowers.csv"
[network]
hidden = [8]
input_quantiser = "int8"
weight_quantiser = "binary"
activation_quantiser = "int2"
[training]
epochs = 3
batch_size = 20
learning_rate = 0.02
"""


def test_a_config_in_another_folder_from_training_to_export(tmp_path: Path) -> None:
    from sklearn.datasets import load_iris

    features, labels = load_iris(return_X_y=True)
    rows = [
        ",".join([*map(str, row), f"kind {label}"])
        for row, label in zip(features, labels, strict=True)
    ]
    (tmp_path / "flowers.csv").write_text("a,b,c,d,label\n" + "\n".join(rows) + "\n")
    (tmp_path / "own.toml").write_text(CONFIG)
    run = tmp_path / "run"
    stage = train.train_run(load_config(tmp_path / "own.toml"), run)
    assert json.loads((stage / train.SUMMARY).read_text())["n_test_samples"] == 30
    export.export_run(run)
    with np.load(run / "vectors.npz") as vectors:
        assert vectors["class_names"].tolist() == ["kind 0", "kind 1", "kind 2"]
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.move(tmp_path / "flowers.csv", moved)
    shutil.rmtree(run / export.STAGE)
    with pytest.raises(UserError, match="not there"):
        export.export_run(run)
    export.export_run(run, moved)


@pytest.mark.parametrize("line", ['name = "own"', 'name = "digits"\npath = "x.csv"'])
def test_a_path_is_for_own_data_alone(tmp_path: Path, line: str) -> None:
    text = CONFIG.replace('name = "own"\npath = "flowers.csv"', line)
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(UserError, match=r"data\.path"):
        load_config(tmp_path / "c.toml")
