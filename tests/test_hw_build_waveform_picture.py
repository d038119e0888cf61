"""The waveform picture: what it shows of beats, by hand."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from hw_build.activity import Lane
from hw_build.blocks import Stream
from hw_build.int_type import IntType
from hw_build.waveform_picture import CYCLE, NAMES, Recorded, waveform_svg

SVG = "{http://www.w3.org/2000/svg}"


def drawn(first: int, n_cycles: int) -> ElementTree.Element:
    """Beats offered in cycles 2, 3, 6 and taken in 2, 5, 6: the second one waits."""
    offered, passed = np.array([2, 3, 6]), np.array([2, 5, 6])
    stream = Stream("out", 4, IntType(9, signed=False), 4, "out")
    lane = Lane("block", stream, offered, passed, np.array([0, 0, 1]))
    beats = np.array([[0xABCD, 1], [2, 3], [4, 5]], np.uint32)
    return ElementTree.fromstring(waveform_svg([Recorded(lane, beats)], first, n_cycles))


def test_beats_are_boxes_from_their_offer_to_their_taking() -> None:
    boxes = list(drawn(0, 10).iter(f"{SVG}rect"))
    at = [
        ((float(b.get("x")) - NAMES) / CYCLE, float(b.get("width")) / CYCLE, b.get("class"))
        for b in boxes
    ]
    assert at == [(2, 1, "beat"), (3, 3, "waits"), (6, 1, "beat")]
    titles = [b.find(f"{SVG}title").text for b in boxes]
    # 36 bits of a beat are nine digits, the second word's lowest in front
    assert titles[0] == "beat 0 of frame 0, taken in cycle 2: 10000abcd"
    assert titles[2].startswith("beat 2 of frame 1, taken in cycle 6: 5")


def test_lines_are_up_where_a_beat_is_valid_and_where_it_is_taken() -> None:
    def up(line: ElementTree.Element) -> list[int]:
        ys = [float(point.split(",")[1]) for point in line.get("points").split()][::2]
        return [cycle for cycle, y in enumerate(ys) if y == min(ys)]

    valid, taken = drawn(0, 10).iter(f"{SVG}polyline")
    assert up(valid) == [2, 3, 4, 5, 6]
    assert up(taken) == [2, 5, 6]


def test_a_beat_at_the_edge_is_cut() -> None:
    (box, *_) = [b for b in drawn(4, 1).iter(f"{SVG}rect") if b.get("class") == "waits"]
    assert (float(box.get("x")), float(box.get("width"))) == (NAMES, CYCLE)
