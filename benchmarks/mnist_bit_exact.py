"""TFC on MNIST, trained here, through every executor: accuracy, mismatches, cycles, LUTs.

Usage: python -m benchmarks.mnist_bit_exact [--data-dir D] [--out runs/mnist]

Runs the three commands of the README for tfc_w1a1, tfc_w1a2 and tfc_w2a2 at the frame rate of
FINN's build records for TFC (1.43 M frames/s at 100 MHz). What is there already is not made again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.record import print_header

CONFIGS = ("tfc_w1a1", "tfc_w1a2", "tfc_w2a2")
TARGET_FPS = "1428571"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/mnist"))
    options = parser.parse_args()
    data = ["--data-dir", str(options.data_dir)] if options.data_dir else []
    rows = []
    for config in CONFIGS:
        run = options.out / config
        _step("training.train", f"training/configs/{config}.toml", "--out", str(run), *data)
        _step("training.export", str(run), *data)
        _step(
            *("hw_build.flow", "run", str(run), "--target-fps", TARGET_FPS),
            *("--clock-mhz", "100", "--output", "class"),
        )
        rows.append((config, json.loads((run / "report.json").read_text())))
    print_header("accuracy and cycles simulated, LUT synthesised (not placed)")
    for config, report in rows:
        gates = ", ".join(f"{g['mismatches']} of {g['vectors']}" for g in report["gates"])
        cycles, latency = report["cycles_per_frame"], report["latency_cycles"]
        print(f"{config}  accuracy {100 * report['accuracy']:.2f} %, mismatches by gate: {gates}")
        print(
            f"          {cycles['simulated']:g} cycles a frame ({cycles['predicted']} predicted), "
            f"latency {latency['simulated']} ({latency['predicted']} predicted), "
            f"{report['frames_per_second']:,.0f} frames/s at 100 MHz, "
            f"{report['resources']['synthesised']['lut']} LUT, "
            f"depth {report['logic_depth']['luts']} LUTs"
        )


def _step(module: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, *arguments], check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
