"""Where the boxes and arrows of a dataflow picture lie.

Boxes stand in stream order, one below the other, in columns that are read like a newspaper's. A
stream to the next box is a straight arrow; any other leaves its box at the bottom, runs in a lane
of the gutter at the column's right, and enters its box from above. No two arrows share a line.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

BOX_WIDTH = 204
MARGIN, LANE, GUTTER_EDGE = 6, 10, 12
STRAIGHT_X, SIDE_X = 34, 24
"""Where arrows meet a box: straight ones from its left side, others from its right."""
GAP, STRAIGHT_GAP, EXIT_GAP, ENTRY_GAP = 12, 18, 16, 12
"""Room between two boxes: in any case, for a straight arrow's label, an exit, an entry."""
CUT_COST = 80
"""What an arrow from column to column counts against columns of different heights, in pixels."""

Edge = tuple[int, int]
"""The boxes an arrow leads from and to, by number."""
Point = tuple[int, int]
Arrow = tuple[int, int, int]
"""An edge and its own number: two may lead from the same box to the same other."""


@dataclass(frozen=True)
class Wire:
    """An arrow's corners, its head at the last one, and where its label begins or ends."""

    points: tuple[Point, ...]
    label: Point
    anchor: str


@dataclass(frozen=True)
class Layout:
    """The picture's size, each box's left upper corner, and a wire for every edge."""

    width: int
    height: int
    corners: tuple[Point, ...]
    wires: tuple[Wire, ...]


def arrange(heights: Sequence[int], edges: Sequence[Edge], n_columns: int) -> Layout:
    """Lays out boxes of these heights, and the edges (from, to) between them, from < to."""
    return _Arrangement(heights, edges, n_columns).layout()


class _Arrangement:
    def __init__(self, heights: Sequence[int], edges: Sequence[Edge], n_columns: int) -> None:
        self.heights = heights
        self.edges: list[Arrow] = [(*edge, number) for number, edge in enumerate(edges)]
        self.starts = _column_starts(heights, edges, n_columns)
        self.columns = [bisect_right(self.starts, i) - 1 for i in range(len(heights))]
        self.exits: dict[int, list[Arrow]] = defaultdict(list)
        self.entries: dict[int, list[Arrow]] = defaultdict(list)
        self.straight: dict[int, Arrow] = {}
        for edge in self.edges:
            to_next = edge[1] == edge[0] + 1 and not self._column_step(edge)
            if to_next and edge[0] not in self.straight:
                self.straight[edge[0]] = edge
            else:
                self.exits[edge[0]].append(edge)
                self.entries[edge[1]].append(edge)

    def layout(self) -> Layout:
        # arrows that pass over a whole column do so above all boxes
        self.over = [edge for edge in self.edges if self._column_step(edge) > 1]
        tops = self._tops(2 * MARGIN + LANE * len(self.over) if self.over else MARGIN)
        lanes, n_lanes = self._lanes(tops)
        lefts, right = [], MARGIN
        for n in n_lanes:
            lefts.append(right)
            right += BOX_WIDTH + 2 * GUTTER_EDGE + LANE * n
        corners = tuple(
            (lefts[column], top) for column, top in zip(self.columns, tops, strict=True)
        )
        lane_x = {
            key: lefts[key[1]] + BOX_WIDTH + GUTTER_EDGE + LANE * lane
            for key, lane in lanes.items()
        }
        wires = tuple(self._wire(edge, corners, lane_x) for edge in self.edges)
        bottom = max(top + height for top, height in zip(tops, self.heights, strict=True))
        # below the last box of a column leaves what goes on in the next one
        rest = max(len(self.exits[start - 1]) for start in [*self.starts[1:], len(self.heights)])
        return Layout(right, bottom + EXIT_GAP * rest + MARGIN, corners, wires)

    def _column_step(self, edge: Arrow) -> int:
        return self.columns[edge[1]] - self.columns[edge[0]]

    def _is_straight(self, edge: Arrow) -> bool:
        return self.straight.get(edge[0]) == edge

    def _tops(self, first: int) -> list[int]:
        """The upper side of every box; multiples of 4, so that exits and entries never meet."""
        tops: list[int] = []
        for i in range(len(self.heights)):
            y = first
            if i not in self.starts:
                y = tops[-1] + self.heights[i - 1] + EXIT_GAP * len(self.exits[i - 1]) + GAP
                y += STRAIGHT_GAP * (i - 1 in self.straight)
            y += ENTRY_GAP * len(self.entries[i])
            tops.append(-(-y // 4) * 4)
        return tops

    def _exit_y(self, edge: Arrow, tops: Sequence[int]) -> int:
        bottom = tops[edge[0]] + self.heights[edge[0]]
        return -(-bottom // 4) * 4 + EXIT_GAP * self.exits[edge[0]].index(edge) + GAP

    def _entry_y(self, edge: Arrow, tops: Sequence[int]) -> int:
        return tops[edge[1]] - ENTRY_GAP * (1 + self.entries[edge[1]].index(edge)) - 2

    def _over_y(self, edge: Arrow) -> int:
        return MARGIN + LANE * self.over.index(edge)

    def _lanes(self, tops: Sequence[int]) -> tuple[dict[tuple[Arrow, int], int], list[int]]:
        """By edge and column its lane in that column's gutter; and how many each gutter has."""
        spans: dict[int, list[tuple[int, int, Arrow]]] = defaultdict(list)
        for edge in self.edges:
            if self._is_straight(edge):
                continue
            start, end = self._exit_y(edge, tops), self._entry_y(edge, tops)
            if edge in self.over:
                over = self._over_y(edge)
                spans[self.columns[edge[0]]].append((over, start, edge))
                spans[self.columns[edge[1]] - 1].append((over, end, edge))
            else:
                spans[self.columns[edge[0]]].append((min(start, end), max(start, end), edge))
        lanes: dict[tuple[Arrow, int], int] = {}
        n_lanes = []
        for column in range(len(self.starts)):
            taken: list[list[tuple[int, int]]] = []
            for low, high, edge in sorted(spans[column], key=lambda span: span[1] - span[0]):
                lane = 0
                while lane < len(taken) and any(
                    low <= end and start <= high for start, end in taken[lane]
                ):
                    lane += 1
                if lane == len(taken):
                    taken.append([])
                taken[lane].append((low, high))
                lanes[edge, column] = lane
            n_lanes.append(len(taken))
        return lanes, n_lanes

    def _wire(
        self, edge: Arrow, corners: Sequence[Point], lane_x: dict[tuple[Arrow, int], int]
    ) -> Wire:
        (x0, y0), (x1, y1) = corners[edge[0]], corners[edge[1]]
        bottom = y0 + self.heights[edge[0]]
        if self._is_straight(edge):
            x = x0 + STRAIGHT_X
            label = (x + 10, bottom + EXIT_GAP * len(self.exits[edge[0]]) + 17)
            return Wire(((x, bottom), (x, y1)), label, "start")
        tops = [top for _, top in corners]
        start, end = self._exit_y(edge, tops), self._entry_y(edge, tops)
        order = self.exits[edge[0]].index(edge)
        exit_x = x0 + BOX_WIDTH - SIDE_X - LANE * order
        order = self.entries[edge[1]].index(edge)
        step, column = self._column_step(edge), self.columns[edge[0]]
        # from the gutter at the left where that is nearer
        entry_x = x1 + LANE * (order + 1) if step else x1 + BOX_WIDTH - SIDE_X - LANE * order
        x = lane_x[edge, column]
        points = [(exit_x, bottom), (exit_x, start), (x, start)]
        if step > 1:
            over, x = self._over_y(edge), lane_x[edge, self.columns[edge[1]] - 1]
            points += [(points[-1][0], over), (x, over)]
        points += [(x, end), (entry_x, end), (entry_x, y1)]
        leftmost = x0 + BOX_WIDTH - SIDE_X - LANE * (len(self.exits[edge[0]]) - 1)
        return Wire(tuple(points), (leftmost - 6, start + 4), "end")


def _column_starts(heights: Sequence[int], edges: Sequence[Edge], n_columns: int) -> list[int]:
    """The first box of every column: columns of like heights, where few arrows are cut."""
    ends = [0]
    for height in heights:
        ends.append(ends[-1] + height + GAP + STRAIGHT_GAP)
    n_columns = min(n_columns, len(heights))
    starts = [0]
    for column in range(1, n_columns):
        ideal = ends[-1] * column / n_columns

        def cost(i: int, ideal: float = ideal) -> float:
            return abs(ends[i] - ideal) + CUT_COST * sum(a < i <= b for a, b in edges)

        latest = len(heights) - (n_columns - column)
        starts.append(min(range(starts[-1] + 1, latest + 1), key=cost))
    return starts
