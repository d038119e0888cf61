"""The network's end: which integers leave the accelerator, and what is left for the host."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from deploy.errors import UserError
from hw_build.graph import ArgMax, TopK
from hw_build.graph_file import Imported
from hw_build.importer.affine import Affine
from hw_build.importer.dense import flatten
from hw_build.importer.layout import Layout
from hw_build.importer.levels import dequantisation, fits, quantised_again
from hw_build.importer.network import Network
from hw_build.importer.settling import flush, settle
from hw_build.importer.thresholds import TABLE_LIMIT
from hw_build.importer.values import Constant, Node, Signal, Tail, Value
from hw_build.scalar import Step, evaluate

ORDER_KEEPING = ("Softmax", "LogSoftmax", "ArgMax", "TopK")
"""Operators over all channels that leave the greatest score the greatest."""

EXPONENTIALS = ("Softmax", "LogSoftmax")

MOST_SPREAD = 512.0
"""Scores this far below the greatest one keep their order in a float64 Softmax.

exp(-512) is no subnormal number, shared among however many classes, and s - max(s) is rounded to
2**-44, less than LEAST_GAP. The greatest score needs no such bound.
"""

LEAST_GAP = 2.0**-40
"""Scores this far apart stay apart in a float64 Softmax: exp(-gap) is less than 1."""


def finish(value: Value, network: Network, output: str) -> Imported:
    """The whole network, with "scores", "class", "topK" or, for "auto", what the file asks for.

    Scores are the integers of the last quantiser where one of at most 8 bits follows the last
    layer, otherwise the last layer's accumulators. Their meaning is given at the last tensor
    that is still affine in them; the operators after it are the host's.
    """
    asked = n_best_of(output)
    tail = value if isinstance(value, Tail) else None
    signal = tail.signal if tail else value
    if isinstance(signal, Constant):
        raise UserError("the network's output does not depend on its input")
    if not isinstance(signal, Signal) or not signal.source:
        raise UserError(
            "the network has no layer to compile",
            expected="at least one MatMul, Gemm or Conv with quantised weights",
        )
    name, steps = _leaving(signal, network)
    first = network.meanings[name].tensor if name in network.meanings else ""
    meaning, tensor, rest = _affine_part(first, steps)
    shape = network.infos[name].shape
    if len(shape) == 3 and shape[:2] == (1, 1):
        name = flatten(network, name, "scores")
        layout = network.layouts[tensor]
        network.layouts[tensor] = Layout(layout.places, shape[-1:])
    network.mean(name, tensor, meaning)
    operators = _operators(rest) + (tail.operators if tail else ())
    n_best = tail.n_best if output == "auto" and tail is not None else asked
    if n_best:
        try:
            _require_exact_order(name, steps, tail.operators if tail else (), network, n_best)
        except UserError as error:
            if asked:
                raise
            best = _in_words(n_best)
            network.notes.append(f"scores leave, and the host takes the {best}: {error.found}")
        else:
            network.append(ArgMax("class", name) if n_best == 1 else TopK("classes", name, n_best))
            operators = ()
    notes = tuple(network.notes)
    return Imported(network.graph(), network.quantiser, network.input_shape, operators, notes)


def n_best_of(output: str) -> int:
    """How many classes leave: 1 for "class", K for "topK", 0 for "scores" and "auto".

    Raises:
        UserError: no such output.
    """
    top = re.fullmatch(r"top([1-9][0-9]{0,5})", output)
    if top is None and output not in ("auto", "scores", "class"):
        raise UserError(
            "no such output",
            where="--output",
            found=output,
            expected="auto, scores, class, or top2, top5 and the like",
        )
    return int(top[1]) if top else int(output == "class")


def _in_words(n_best: int) -> str:
    return "arg max" if n_best == 1 else f"top {n_best}"


def _leaving(signal: Signal, network: Network) -> tuple[str, tuple[Step, ...]]:
    """The layer whose integers leave, and the steps from those integers to the signal."""
    signal = quantised_again(signal)
    narrow = [i for i, step in enumerate(signal.steps) if step.is_quantiser and fits(step)]
    if not narrow:
        signal = flush(network, signal)
        return signal.source, signal.steps
    end = narrow[-1] + 1
    node = Node(signal.tensor, "output", "", (), (), (), {})
    settled = settle(network, replace(signal, steps=signal.steps[:end]), node)
    return settled.source, (*dequantisation(signal.steps[end - 1]), *signal.steps[end:])


def _affine_part(first: str, steps: tuple[Step, ...]) -> tuple[Affine, str, tuple[Step, ...]]:
    """The meaning at the last tensor that is affine in the integers, its name, and what follows.

    `first` is the tensor before the steps that name one. A node of several steps has a tensor
    after its last one only.
    """
    running, best = Affine.identity(), (Affine.identity(), first, steps)
    for i, step in enumerate(steps):
        after = running.then(step)
        if after is None:
            break
        running = after
        if step.tensor or not step.node:
            best = (running.collapsed(), step.tensor or first, steps[i + 1 :])
    return best


def _operators(steps: tuple[Step, ...]) -> tuple[str, ...]:
    """The QONNX operators of the nodes that the steps belong to."""
    return tuple({step.node: step.operator for step in steps}.values())


def _require_exact_order(
    name: str, steps: tuple[Step, ...], operators: tuple[str, ...], network: Network, n_best: int
) -> None:
    """The greatest integers have to be the greatest scores, in their order.

    So channels share an increasing function.
    """
    best, info = _in_words(n_best), network.infos[name]

    def refuse(found: str) -> UserError:
        return UserError(
            f"the {best} cannot be taken exactly on the accelerator",
            where=f"layer {name}",
            found=found,
            expected="scores with one positive scale and equal offsets on all channels",
            fix=f'compile with output "scores": the integers leave, and the host takes the {best}',
        )

    if n_best > 1 and (n_best > info.n_channels or len(info.shape) > 1):
        raise UserError(
            f"there is no {best} of these scores",
            where=f"layer {name}",
            found=f"scores ({', '.join(map(str, info.shape))})",
            expected=f"one vector of {n_best} scores or more",
            fix='compile with output "scores", or ask for fewer classes',
        )

    for operator in operators:
        if operator not in ORDER_KEEPING:
            raise refuse(f"{operator} at the network's end")
    for step in steps:
        uneven = [key for key, value in step.parameters.items() if np.ndim(value)]
        if uneven:
            raise refuse(f"a {uneven[0]} per channel in node {step.node} ({step.operator})")
    if any(np.any(step.parameters.get("slack", 0)) for step in steps):
        raise refuse("scores that depend on the rounding of the inputs' own scaling")
    lo, hi = int(info.lo.min()), int(info.hi.max())
    affine = Affine.identity()
    for step in steps:
        affine = affine.then(step) if affine is not None else None
    if affine is None and hi - lo >= TABLE_LIMIT:
        raise refuse("an activation on a range too large to be tabulated")
    # Rounding is coarsest at the ends, so that an affine function is shown to increase there.
    x = np.array([lo, lo + 1, hi - 1, hi]) if affine is not None else np.arange(lo, hi + 1)
    scores = evaluate(steps, x[np.append(True, np.diff(x) > 0)].astype(np.float64))
    gaps = np.diff(scores)
    if len(gaps) and gaps.min() < (LEAST_GAP if operators else np.finfo(np.float64).tiny):
        raise refuse("scores that don't grow with every step of the integers")
    exponentials = [operator for operator in operators if operator in EXPONENTIALS]
    spread = float(scores[-1] - scores[0])
    if n_best > 1 and len(exponentials) > 1:
        raise refuse(f"{' and '.join(exponentials)}: the second rounds small shares to equal ones")
    if n_best > 1 and exponentials and spread > MOST_SPREAD:
        raise refuse(f"a Softmax that may round scores to 0: they lie up to {spread:g} apart")
