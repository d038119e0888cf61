"""A user of finn-plus-driver, as it comes from PyPI, on a virtual board.

Run by tests/test_deploy_finn_driver.py in an environment with that package; prints what it did.
"""

import sys
import warnings
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from finn_plus_driver import FINNDMAOverlay  # noqa: E402
from toy_bundle import ToyExecutor, toy, toy_files, toy_manifest  # noqa: E402

from deploy.errors import MachineError  # noqa: E402
from deploy.packing import Packing  # noqa: E402
from deploy.pynq_virtual import virtual_board  # noqa: E402
from deploy.virtual_blocks import Faults  # noqa: E402

FRAMES = 40
SHAPES = {
    "idt": ["DataType['INT3']"],
    "odt": ["DataType['INT12']"],
    "ishape_normal": [(1, 20)],
    "oshape_normal": [(1, 4)],
    "ishape_folded": [(1, 4, 5)],
    "oshape_folded": [(1, 4, 1)],
    "ishape_packed": [(1, 4, 2)],
    "oshape_packed": [(1, 4, 2)],
    "input_dma_name": ["idma0"],
    "output_dma_name": ["odma0"],
    "num_inputs": 1,
    "num_outputs": 1,
}


def overlay(hardware: Path) -> FINNDMAOverlay:
    bit = str(hardware / "accelerator.bit")
    return FINNDMAOverlay(bit, "zynq-iodma", dict(SHAPES), batch_size=FRAMES)


manifest = toy_manifest(
    toy_files(),
    mover="finn_iodma",
    input=Packing(20, 3, signed=True, beat_bits=16, lanes=5),
    output=Packing(4, 12, signed=True, beat_bits=16, lanes=1),
)
executor = ToyExecutor(manifest=manifest)
with virtual_board("pynq_z2", manifest, executor) as hardware:
    driver = overlay(hardware)
    for seed in range(3):
        x = np.random.default_rng(seed).integers(-4, 4, (FRAMES, 20)).astype(np.float32)
        assert (driver.execute(x) == toy(x)).all()
    measured = driver.throughput_test()
    assert measured["batch_size"] == FRAMES
    print(f"exact {len(executor.transfers)} transfers")
with virtual_board("pynq_z2", manifest, executor, faults=Faults(dead=True)) as hardware:
    driver = overlay(hardware)
    try:
        driver.execute(x)
    except MachineError as error:
        print(f"no hang: {error.what}")
