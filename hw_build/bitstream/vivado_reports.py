"""What Vivado's reports say: cells used, slack, the worst path, nets without a route.

The forms are those of versions 2020 to 2024, for 7-series (slices) and UltraScale+ (CLBs).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.errors import MachineError

_SITES = {
    "lut": ("Slice LUTs", "CLB LUTs"),
    "ff": ("Slice Registers", "CLB Registers", "Register as Flip Flop"),
    "bram36": ("Block RAM Tile",),
    "dsp": ("DSPs",),
}


@dataclass(frozen=True)
class Path:
    """A path that ends too late (setup): its cells' names, its clock's period and slack in ns."""

    source: str
    destination: str
    slack_ns: float
    requirement_ns: float
    levels: int


@dataclass(frozen=True)
class Timing:
    """Slack of the routed design: worst setup (WNS), hold (WHS) and pulse width (WPWS), in ns.

    `worst` is the setup path with the least slack; None where the report shows none.
    """

    wns_ns: float
    whs_ns: float
    wpws_ns: float
    worst: Path | None

    def slack_at(self, clock_mhz: float) -> float:
        """Setup slack in ns if the clock had this frequency in place of the one analysed.

        The dividers of a processing system reach few frequencies: what was analysed may be a
        little slower than what was asked for.
        """
        if self.worst is None:
            return self.wns_ns
        return self.wns_ns - (self.worst.requirement_ns - 1000 / clock_mhz)

    @property
    def most_mhz(self) -> float:
        """The frequency at which the worst path has no slack left."""
        if self.worst is None:
            return float("inf")
        return 1000 / (self.worst.requirement_ns - self.wns_ns)


def read_utilisation(text: str) -> dict[str, float]:
    """`lut`, `ff`, `bram36` and `dsp` of a report_utilization.

    Raises:
        MachineError: a row is missing.
    """
    rows: dict[str, float] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 3 and re.fullmatch(r"[\d.]+", cells[2]):
            rows.setdefault(cells[1].rstrip("*"), float(cells[2]))
    used = {}
    for name, sites in _SITES.items():
        found = [rows[site] for site in sites if site in rows]
        if not found:
            raise _unreadable("utilisation", f"no row {' or '.join(sites)}")
        used[name] = found[0]
    return used


def read_timing(text: str) -> Timing:
    """The figures of a report_timing_summary.

    Raises:
        MachineError: it has no summary, or a path that can't be read.
    """
    lines = text.partition("| Design Timing Summary")[2].splitlines()
    header = next((i for i, line in enumerate(lines) if line.split()[:1] == ["WNS(ns)"]), None)
    if header is None or header + 2 >= len(lines):
        raise _unreadable("timing", "no Design Timing Summary")
    # Two spaces part the columns' names, one space the words of a name.
    names = re.split(r"\s{2,}", lines[header].strip())
    values = lines[header + 2].split()
    summary = dict(zip(names, values, strict=False))
    try:
        slacks = [_slack(summary[name]) for name in ("WNS(ns)", "WHS(ns)", "WPWS(ns)")]
    except (KeyError, ValueError) as error:
        raise _unreadable("timing", f"no slack in {lines[header + 2].strip()!r}") from error
    wns, whs, wpws = slacks
    return Timing(wns, whs, wpws, _worst_path(text))


def unrouted_nets(text: str) -> int:
    """Nets with routing errors, of a report_route_status."""
    found = re.search(r"# of nets with routing errors[ .]*:\s*(\d+)", text)
    return int(found[1]) if found else 0


def layer_of(path: str, instances: Mapping[str, str]) -> str:
    """The layer or block that a cell lies in, by the names of the instances around it."""
    for name in path.split("/"):
        if name in instances:
            return instances[name]
    return "outside the layers"


def _worst_path(text: str) -> Path | None:
    """The setup path with the least slack."""
    paths = []
    for part in re.split(r"(?m)^(?=Slack \()", text)[1:]:
        fields = dict(re.findall(r"(?m)^ *([A-Z][A-Za-z ]+?):\s+(\S.*?)\s*$", part))
        if not fields.get("Path Type", "").startswith("Setup"):
            continue
        slack = re.match(r"Slack \(\w+\)\s*:\s*(-?[\d.]+)ns", part)
        requirement = re.match(r"([\d.]+)ns", fields.get("Requirement", ""))
        if not slack or not requirement or not {"Source", "Destination"} <= set(fields):
            raise _unreadable("timing", f"a path that can't be read: {part[:80]!r}")
        levels = int(fields.get("Logic Levels", "0").split()[0])
        ends = fields["Source"].split()[0], fields["Destination"].split()[0]
        paths.append(Path(*ends, float(slack[1]), float(requirement[1]), levels))
    return min(paths, key=lambda path: path.slack_ns, default=None)


def _slack(text: str) -> float:
    """NA stands where nothing is checked."""
    return float("inf") if text == "NA" else float(text)


def _unreadable(report: str, found: str) -> MachineError:
    return MachineError(f"Vivado's {report} report can't be read", found=found)
