"""A bundle is a stranger's file: whatever is wrong with it is refused before anything happens."""

from __future__ import annotations

import hashlib
import json
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_bundle import npy, toy, toy_files, toy_manifest, write_toy

from deploy.bundle import INPUTS, LABELS, MANIFEST, MEMORIES, OUTPUTS, Bundle, read_integers
from deploy.errors import NarrowgaugeError, UserError
from deploy.manifest import Manifest
from deploy.packing import Packing
from deploy.trust import require_trust


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The bundle with its members (the manifest included) changed, nothing else kept right."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def edit(key: str, value: object) -> Callable[[dict[str, bytes]], None]:
    """A change of one key of the manifest; `a.b` is b in a."""

    def change(files: dict[str, bytes]) -> None:
        fields = json.loads(files[MANIFEST])
        *path, last = key.split("/")
        place = fields
        for name in path:
            place = place[name]
        place[last] = value
        files[MANIFEST] = json.dumps(fields).encode()

    return change


def test_a_whole_bundle_is_read(tmp_path: Path) -> None:
    bundle = Bundle.read(write_toy(tmp_path / "b.zip"))
    vectors = bundle.vectors()
    np.testing.assert_array_equal(vectors.outputs, toy(vectors.inputs))
    assert not bundle.has_bitstream
    assert list(bundle.executables) == ["deploy/errors.py"]
    bundle.write(tmp_path / "out")
    assert (tmp_path / "out" / INPUTS).read_bytes() == bundle.files[INPUTS]


def test_the_manifest_survives_its_file() -> None:
    manifest = toy_manifest(toy_files())
    text = json.dumps(manifest.to_json()).encode()
    assert Manifest.parse(text, "x").to_json() == manifest.to_json()


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "/etc/passwd",
        "deploy/../../evil.py",
        "deploy\\..\\evil.py",
        "C:/evil.py",
        "deploy/sub/evil.py",
        "notes.txt",
        "deploy/evil.so",
        "vectors/",
    ],
)
def test_a_path_of_no_member_is_refused(name: str, tmp_path: Path) -> None:
    path = rewrite(write_toy(tmp_path / "b.zip"), lambda files: files.update({name: b"x"}))
    with pytest.raises(UserError, match=r"leaves the folder|does not belong"):
        Bundle.read(path)
    assert [p.name for p in tmp_path.iterdir()] == ["b.zip"]


CHANGES = {
    "altered": (lambda f: f.update({OUTPUTS: f[OUTPUTS][:-1] + b"\x55"}), "was altered"),
    "longer": (lambda f: f.update({OUTPUTS: f[OUTPUTS] + b"x"}), "size is not"),
    "shorter": (lambda f: f.update({OUTPUTS: f[OUTPUTS][:-1]}), "was altered"),
    "missing": (lambda f: f.pop(INPUTS), "missing from the bundle"),
    "extra": (lambda f: f.update({"deploy/evil.py": b"x"}), "not its manifest"),
    "no manifest": (lambda f: f.pop(MANIFEST), "has no manifest"),
    "no json": (lambda f: f.update({MANIFEST: b"{"}), "not the manifest"),
    "deep json": (lambda f: f.update({MANIFEST: b"[" * 100_000}), "not the manifest"),
    "other version": (edit("schema", 1), "another version"),
    "other form": (edit("form", "x"), "not the manifest"),
    "unknown key": (edit("more", 1), "not the manifest"),
    "endless frame": (edit("latency_cycles", 1 << 31), "s for a frame"),
    "no clock": (edit("clock_mhz", 0.001), "not the manifest"),
    "infinite clock": (edit("clock_mhz", float("inf")), "not the manifest"),
    "no number": (edit("clock_mhz", "100"), "not the manifest"),
    "bits": (edit("input/bits", 99), "not the manifest"),
    "huge frame": (edit("input/n", 1 << 40), "not the manifest"),
    "wrong lanes": (edit("input/lanes", 2.5), "not the manifest"),
    "other streams": (edit("input/n", 21), "not the manifest"),
    "mover": (edit("mover", "rm -rf"), "not the manifest"),
    "identity": (edit("identity", "zz"), "not the manifest"),
    "board": (edit("board", "../x"), "not the manifest"),
    "unknown board": (edit("board", "no_such_board"), "unknown board"),
    "long text": (edit("hashes", {"graph": "y" * 1001}), "no short printable text"),
    "many texts": (edit("versions", {str(i): "1" for i in range(1001)}), "1001 entries"),
    "escape codes": (edit("versions", {"pynq": "\x1b[31m3"}), "no short printable text"),
    "names of commands": (
        edit("output_meaning/class_names", ["a", "b", "c", "\x1b]0;d\x07"]),
        "not printable text",
    ),
    "step": (edit("quantiser/steps", [{"op": "eval", "parameters": {}}]), "not the manifest"),
    "shape": (edit("quantiser/shape", [1 << 60]), "not the manifest"),
    "scale": (edit("output_meaning/scale", [1, 2, 3]), "not the manifest"),
    "names": (edit("output_meaning/class_names", ["a"]), "not the manifest"),
    "memories": (edit("memories", [[1, 2, 3]]), "not the manifest"),
    "memory of nothing": (edit("memories", [[0, 1]]), "not the manifest"),
    "memories without weights": (edit("memories", [[4, 1]]), "don't fit the accelerator's mem"),
    "member size": (edit(f"members/{INPUTS.replace('/', '|')}", 1), "not the manifest"),
}


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    files = toy_files()
    for pieces, shapes in (
        (np.zeros(7, np.uint32), [(4, 2)]),
        (np.zeros(8, np.int32), [(4, 2)]),
        (np.zeros((4, 2), np.uint32), [(4, 2)]),
        (np.zeros(8, np.uint32), []),
    ):
        given = {**files, MEMORIES: npy(pieces)}
        path = write_toy(tmp_path / "b.zip", given, memories=shapes)
        with pytest.raises(UserError, match="don't fit the accelerator's memories"):
            Bundle.read(path)
    path = write_toy(
        tmp_path / "b.zip",
        {**files, MEMORIES: npy(np.arange(8, dtype=np.uint32))},
        memories=[(2, 2), (4, 1)],
    )
    first, second = Bundle.read(path).memories().contents
    assert first.tolist() == [[0, 1], [2, 3]]
    assert second.tolist() == [[4], [5], [6], [7]]


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_is_not_as_the_flow_wrote_it_is_refused(name: str, tmp_path: Path) -> None:
    change, words = CHANGES[name]
    path = rewrite(write_toy(tmp_path / "b.zip"), change)
    with pytest.raises(UserError, match=words):
        Bundle.read(path)


def test_vectors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    files = toy_files()
    for change in (
        {OUTPUTS: npy(np.zeros((49, 4), np.int16))},
        {INPUTS: npy(np.zeros((50, 21), np.int8))},
        {INPUTS: npy(np.zeros((0, 20), np.int8)), OUTPUTS: npy(np.zeros((0, 4), np.int16))},
        {LABELS: npy(np.zeros(51, np.int64))},
        {LABELS: npy(np.zeros((5, 5), np.int64))},
    ):
        path = write_toy(tmp_path / "b.zip", {**files, **change})
        with pytest.raises(UserError, match="golden vectors don't fit"):
            Bundle.read(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        npy(np.zeros(3)),
        npy(np.zeros((2, 3), np.int8))[:-1],
        npy(np.zeros((2, 3), np.int8)) + b"\0",
        npy(np.zeros((2, 3), np.int8)).replace(b"(2, 3)", b"(9, 3)"),
        npy(np.zeros((2, 3), np.int8)).replace(b"'|i1'", b"'|O8'"),
        npy(np.asfortranarray(np.zeros((2, 3), np.int8))),
        npy(np.zeros((2, 3, 1), np.int8)),
    ],
)
def test_npy_files_that_lie_are_refused(data: bytes) -> None:
    with pytest.raises(UserError, match="npy"):
        read_integers(data, "x")


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", "<u4", "<i8"])
def test_npy_files_of_numpy_are_read(dtype: str) -> None:
    for array in (np.arange(6).reshape(2, 3), np.arange(5)):
        read = read_integers(npy(array.astype(dtype)), "x")
        np.testing.assert_array_equal(read, array)
        assert read.dtype == np.dtype(dtype)


def test_links_encryption_and_doubles_are_refused(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "b.zip")
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("deploy/link.py")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(UserError, match="no plain file"):
        Bundle.read(path)
    path = write_toy(tmp_path / "b.zip")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MANIFEST, "{}")
    with pytest.raises(UserError, match="twice"):
        Bundle.read(path)


def test_a_size_that_lies_is_refused_without_unpacking_it(tmp_path: Path) -> None:
    bomb = write_toy(tmp_path / "b.zip")
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deploy/bomb.py", bytes(1 << 24))
    data = bomb.read_bytes().replace(struct.pack("<I", 1 << 24), struct.pack("<I", 10))
    bomb.write_bytes(data)
    with pytest.raises(UserError):
        Bundle.read(bomb)
    bomb.write_bytes(data.replace(b"deploy/bomb.py", b"deploy/bomb.py"))
    whole = bytearray(write_toy(tmp_path / "c.zip").read_bytes())
    at = whole.rfind(b"PK\x01\x02")
    whole[at + 24 : at + 28] = struct.pack("<I", 0xF0000000)
    (tmp_path / "c.zip").write_bytes(whole)
    with pytest.raises(UserError, match="unpacks to too much"):
        Bundle.read(tmp_path / "c.zip")


def test_a_file_of_another_size_or_end_is_refused_before_it_is_a_zip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = write_toy(tmp_path / "b.zip")
    with zipfile.ZipFile(many, "a") as archive:
        for i in range(2000):
            archive.writestr(f"deploy/a{i}.py", b"")
    commented = write_toy(tmp_path / "c.zip")
    with zipfile.ZipFile(commented, "a") as archive:
        archive.comment = b"x"
    (tmp_path / "d.zip").write_bytes(b"PK")
    for name, words in (
        ("b.zip", "a list of members of"),
        ("c.zip", "no end of a plain zip"),
        ("d.zip", "no end of a plain zip"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("it was opened"))
            with pytest.raises(UserError, match=words):
                Bundle.read(tmp_path / name)
    whole = write_toy(tmp_path / "e.zip")
    monkeypatch.setattr("deploy.bundle.MOST_BYTES", whole.stat().st_size - 1)
    with pytest.raises(UserError, match="more than"):
        Bundle.read(whole)


PLAIN = {"scale": 1.0, "offset": 0.0, "class_names": None, "n_pixels": 1}


def test_a_class_beyond_its_names_is_its_number(tmp_path: Path) -> None:
    files, four_bits = toy_files(), Packing(1, 4, signed=False)
    files[OUTPUTS] = npy(np.arange(50).reshape(-1, 1) % 16)
    meaning = {"kind": "class", **PLAIN, "class_names": ["cat", "dog"]}
    path = write_toy(tmp_path / "b.zip", files, output=four_bits, output_meaning=meaning)
    names = Bundle.read(path).manifest.meaning.names_of([0, 1, 2, 15, -1])
    assert names == ["cat", "dog", "2", "15", "-1"]
    rewrite(path, edit("output_meaning/class_names", [f"c{i}" for i in range(17)]))
    with pytest.raises(UserError, match="17 class names, classes up to 15"):
        Bundle.read(path)


def test_the_best_classes_come_in_their_order(tmp_path: Path) -> None:
    files, two = toy_files(), Packing(2, 4, signed=False)
    files[OUTPUTS] = npy(np.arange(100).reshape(-1, 2) % 16)
    kind = {"kind": "classes", **PLAIN}
    path = write_toy(tmp_path / "b.zip", files, output=two, output_meaning=kind)
    meaning = Bundle.read(path).manifest.meaning
    integers = np.array([[3, 1], [0, 2]])
    assert meaning.classify(integers).tolist() == [3, 0]
    assert meaning.best(integers).tolist() == integers.tolist()
    with pytest.raises(UserError, match="puts out classes, not scores"):
        meaning.dequantise(integers)
    for odd in ("class", "classes2", ["classes"]):  # a class is one integer
        rewrite(path, edit("output_meaning/kind", odd))
        with pytest.raises(UserError, match="not the manifest"):
            Bundle.read(path)


def test_every_pixel_has_its_class_or_its_scores(tmp_path: Path) -> None:
    files, six = toy_files(), Packing(6, 4, signed=False)
    files[OUTPUTS] = npy(np.arange(300).reshape(-1, 6) % 16)
    integers = np.array([[3, 1, 2, 0, 5, 4], [0, 2, 1, 1, 7, 7]])
    classes = {"kind": "class", **PLAIN, "n_pixels": 6}
    path = write_toy(tmp_path / "b.zip", files, output=six, output_meaning=classes)
    meaning = Bundle.read(path).manifest.meaning
    assert meaning.classify(integers).tolist() == meaning.best(integers).tolist()
    assert meaning.classify(integers).tolist() == integers.tolist()
    scores = {"kind": "scores", **PLAIN, "scale": [1.0, -1.0], "n_pixels": 3}
    path = write_toy(tmp_path / "s.zip", files, output=six, output_meaning=scores)
    meaning = Bundle.read(path).manifest.meaning
    assert meaning.dequantise(integers).tolist()[0] == [3, -1, 2, 0, 5, -4]
    assert meaning.classify(integers).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert meaning.classify(-integers).tolist() == [[1, 1, 1], [1, 1, 1]]
    for odd in (0, -3, 4, 1.5, True, "3", None):
        rewrite(path, edit("output_meaning/n_pixels", odd))
        with pytest.raises(UserError, match="not the manifest"):
            Bundle.read(path)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_one_changed_byte_changes_nothing_or_is_refused(data: st.DataObject, tmp_path_factory):
    folder = tmp_path_factory.mktemp("b")
    path = write_toy(folder / "b.zip", toy_files(5))
    whole, files = Bundle.read(path), bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(files) - 1))
    files[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(files)
    try:
        read = Bundle.read(path)
    except NarrowgaugeError:
        return
    assert read.files == whole.files
    assert read.manifest.to_json() == whole.manifest.to_json()


def test_code_and_bitstreams_run_only_where_something_vouches_for_them(tmp_path: Path) -> None:
    from deploy.run_directory import RunDirectory

    run = RunDirectory(tmp_path / "run")
    own = {"body": lambda folder: write_toy(folder / "bundle.zip"), "config": {}, "inputs": {}}
    run.run_stage("10_bundle", tools={}, say=lambda _: None, **own)
    bundle = Bundle.read(write_toy(tmp_path / "b.zip", toy_files(9)))
    require_trust(bundle, run.path, trust=False)  # other data, the same code
    require_trust(bundle, None, trust=True)
    with pytest.raises(UserError, match=r"not trusted[\s\S]*--trust"):
        require_trust(bundle, None, trust=False)
    code = b"import os"
    evil = Bundle.read(write_toy(tmp_path / "e.zip", {**toy_files(), "deploy/errors.py": code}))
    with pytest.raises(UserError, match=r"not that of the run[\s\S]*deploy/errors.py"):
        require_trust(evil, run.path, trust=False)
    lacking = {name: data for name, data in toy_files().items() if name != "deploy/errors.py"}
    less = Bundle.read(write_toy(tmp_path / "l.zip", lacking))
    with pytest.raises(UserError, match=r"not that of the run[\s\S]*errors.py[\s\S]*found: +none"):
        require_trust(less, run.path, trust=False)
    assert hashlib.sha256(code).hexdigest() == evil.executables["deploy/errors.py"]
