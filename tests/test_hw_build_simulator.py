"""What the simulator refuses: each rule is broken by a change of the RTL, and has to be named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from accelerators import Accelerator, build, rewriting
from random_networks import Case

from deploy.errors import GateError, MachineError, UserError
from deploy.registers import MAGIC, identity_words
from hw_build.emit import identity_of
from hw_build.folding import Folding
from hw_build.graph import BIPOLAR, ArgMax, Graph, Input, IntType, MatVec, Threshold
from hw_build.simulator import Simulator, Stalls

STALLS = Stalls(0.5, 0.5, seed=1)


def small_case() -> Case:
    """Two layers, the first with padding rows; between them both converters, with padding."""
    rng = np.random.default_rng(0)
    ternary = IntType(2, signed=True)
    first, second = rng.integers(-1, 2, (6, 6)), rng.integers(-1, 2, (5, 6))
    graph = Graph(
        (
            Input("input", (6,), ternary),
            MatVec("fc0", "input", first),
            Threshold("fc0_act", "fc0", np.tile([-1, 2], (6, 1)), -1, 1, ternary),
            MatVec("fc1", "fc0_act", second),
        )
    )
    folding = {"fc0": Folding(4, 6), "fc1": Folding(5, 5)}
    return Case(graph, folding, rng.integers(-2, 2, (50, 6)).astype(np.int8))


BROKEN = {
    "beats are lost": (
        ("stream_fifo", "if (push) write_pointer", "if (push & ~s_axis_tdata[0]) write_pointer"),
        None,
        r"the pipeline is stuck(.|\n)*frame \d+(.|\n)*fc0_act: valid=0 ready=[01]",
    ),
    "a FIFO is never ready": (
        ("stream_fifo", "(write_pointer ^ read_pointer) != (A + 1)'(DEPTH)", "1'b0"),
        None,
        r"pipeline is stuck(.|\n)*frame 0\n(.|\n)*fc0_act_join: valid=1 ready=0; fc1: valid=0",
    ),
    "tlast missing": (
        ("transfer_end", "assign tlast =", "assign tlast = 1'b0 &"),
        None,
        r"tlast does not mark the last beat(.|\n)*frame 50",
    ),
    "tlast early": (
        ("transfer_end", "assign tlast =", "assign tlast = (left == 32'd3) |"),
        None,
        r"tlast does not mark the last beat(.|\n)*frame 4[78]",
    ),
    "valid falls": (
        (
            "mvu",
            "(enable & result) | (m_axis_tvalid & ~m_axis_tready)",
            "(enable & result)",
        ),
        STALLS,
        r"tvalid fell without a transfer(.|\n)*stream fc1\n",
    ),
    "data change": (
        ("mvu", "levels[p*LEVEL_WIDTH+:LEVEL_WIDTH]) +", "levels[p*LEVEL_WIDTH+:1]) + beat +"),
        STALLS,
        r"tdata changed while tvalid waited(.|\n)*stream fc\d\w*\n",
    ),
    "beats are doubled": (
        ("replay_buffer", "REPEATS - 1", "REPEATS"),
        None,
        r"another number of beats(.|\n)*fc0_act\n(.|\n)*expected: +100",
    ),
    "padding carries something": (
        ("lane_joiner", "{WIDTH{1'b0}}", "{WIDTH{1'b1}}"),
        None,
        r"padding lanes of a stream are not zero(.|\n)*fc0_act_join, frame 0",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_stream_is_named(name: str, tmp_path: Path) -> None:
    change, stalls, text = BROKEN[name]
    made = build(small_case(), tmp_path, change=rewriting(*change))
    with made.open() as model, pytest.raises(GateError, match=text):
        model.run(
            made.case.inputs,
            record=made.streams,
            stalls=stalls,
            check_protocol=stalls is not None,
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Accelerator:
    return build(small_case(), tmp_path_factory.mktemp("small"))


def test_unbroken_streams_pass_the_same_checks(made: Accelerator) -> None:
    with made.open() as model:
        made.gate.check(model)
        made.gate.check(model, stalls=STALLS)


def test_streams_are_recorded_as_they_pass(made: Accelerator) -> None:
    """The first layer's beats hold its integers, lane 0 lowest, padding zero."""
    with made.open() as model:
        result = model.run(made.case.inputs, record=["fc0_act"])
    integers, beats = result.layers["fc0_act"], result.beats["fc0_act"]
    assert integers.shape == (50, 6)
    assert beats.shape == (100, 1)
    lanes = (beats >> np.arange(0, 8, 2)) & 3  # four lanes of two bits
    lanes = lanes.astype(np.int64).reshape(50, 8)
    assert np.array_equal((lanes ^ 2) - 2, np.pad(integers, ((0, 0), (0, 2))))
    assert set(result.layers) == {"fc0_act", "fc1"}
    assert (np.diff(result.frame_ends) > 0).all()
    assert result.cycles == result.frame_ends[-1] + 1


def test_progress_counts_frames(made: Accelerator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hw_build.simulator._CYCLES_PER_CALL", 50)
    seen: list[tuple[int, int]] = []
    with made.open() as model:
        model.run(made.case.inputs, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[0][0] < seen[-1][0] == 50


def test_values_that_the_input_does_not_hold_are_refused(made: Accelerator) -> None:
    wrong = made.case.inputs.copy()
    wrong[3, 2] = 2
    with made.open() as model, pytest.raises(UserError, match=r"frame 3, integer 2(.|\n)*-2 to 1"):
        model.run(wrong)


def test_a_missing_memory_file_is_named(made: Accelerator, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"memory file is missing(.|\n)*fc0_threshold0\.mem"):
        Simulator(made.library, made.blocks, made.case.graph, tmp_path)


def test_memories_are_read_when_a_simulation_opens(made: Accelerator, tmp_path: Path) -> None:
    """One model serves all networks of a shape: negated weights of the last layer negate it."""
    case = small_case()
    last = case.graph["fc1"]
    turned = Graph((*case.graph.layers[:-1], MatVec("fc1", last.source, -last.weights)))
    other = build(Case(turned, case.folding, case.inputs), tmp_path)
    assert other.library == made.library
    with made.open() as first, other.open() as second:
        scores = first.run(case.inputs).layers["fc1"]
        assert np.array_equal(second.run(case.inputs).layers["fc1"], -scores)


def test_scores_of_binary_weights_have_padding_that_nobody_reads(tmp_path: Path) -> None:
    """Binary weights know no zero: the padding row adds its inputs up, and that is no error."""
    layers = (
        Input("input", (4,), BIPOLAR),
        MatVec("fc0", "input", np.random.default_rng(0).choice([-1, 1], (3, 4))),
        ArgMax("class", "fc0"),
    )
    case = Case(Graph(layers), {"fc0": Folding(2, 4)}, np.ones((5, 4), np.int8))
    made = build(case, tmp_path)
    with made.open() as model:
        result, _ = made.gate.check(model)
    assert result.beats["fc0"][1::2].max() >= 1 << int(made.blocks[0].parameters["SUM_BITS"])


def test_the_identity_registers_name_the_build(made: Accelerator) -> None:
    words = identity_words(identity_of(made.folder))
    with made.open() as model:
        assert [model.read_register(f"IDENTITY{i}") for i in range(4)] == list(words)
        assert model.read_register("MAGIC") == MAGIC
