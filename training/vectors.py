"""The test vectors of a trained network: what every executor has to reproduce, bit for bit.

Keys of `vectors.npz`; N is the size of the whole test set, F the number of features, K of classes.
A fully connected network's inputs are (N, F), a convolutional one's images (N, C, H, W) as the
network takes them and (N, H, W, C) as the accelerator does; rows in one dimension are (N, C, L) and
(N, L, C). Activations are channels last, as the accelerator has them.

    inputs                  float32 (N, F) or channels first: the test set as the network takes it,
                            in [0, 1]; it is what `input` takes in QONNX
    inputs_integer          int8 (N, F) or channels last: as the accelerator takes it, the integers
                            of the network's own input quantiser, -1 and +1 where that is bipolar
    labels                  int64 (N,): the right classes
    class_names             str (K,)
    outputs                 float64 (N, K): scores, exactly evaluated; `scores` in QONNX
    outputs_integer         int32 (N, K): the last linear layer's sums of integer products
    outputs_integer/scale   float64 () or (K,): that layer's real outputs are scale * integer
    activations/T           int8 (100, C) or channels last: every quantised activation of the first
                            100 samples, by the name T of its tensor in QONNX, the input
                            quantiser among them
    activations/T/scale     float64 () or (C,): real = scale * integer
    outputs_float32         float32 (N, K): scores by plain float32 PyTorch
    n_float32_class_differs       int64 (): samples whose class is another in plain float32
    n_float32_activation_differs  int64 (): samples on which any quantised activation is another;
                                  both counts are over the test set, and the network's own noise
    extra_inputs, extra_inputs_integer, extra_labels, extra_outputs, extra_outputs_integer
                            the same of training samples that fill a test set of under 1,000 up to
                            1,000, for gates and never for accuracy; absent where not needed

A network without an input quantiser has no `inputs_integer`; one whose last layer is not quantised,
weights and input, has no `outputs_integer`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from brevitas.nn import QuantIdentity

from deploy.errors import UserError
from training.dataset import Dataset
from training.exact_evaluation import Evaluation, ExactNetwork, Quantised
from training.network import Network, frozen

N_GATE_INPUTS = 1000
N_ACTIVATIONS = 100


@dataclass(eq=False)
class _TestSet:
    """What is kept of a test set's evaluation, batch by batch: not all activations of a CNN."""

    inputs_integer: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    accumulators: list[np.ndarray] = field(default_factory=list)
    accumulator_scale: np.ndarray | None = None
    activations: dict[str, list[np.ndarray]] = field(default_factory=dict)
    scales: dict[str, np.ndarray] = field(default_factory=dict)
    float32_scores: list[np.ndarray] = field(default_factory=list)
    n_float32_activation_differs: int = 0

    def add(self, part: slice, evaluation: Evaluation) -> None:
        self.scores.append(evaluation.scores)
        if "input_quantiser" in evaluation.activations:
            self.inputs_integer.append(evaluation.activations["input_quantiser"].integers)
        if evaluation.accumulators is not None:
            self.accumulators.append(evaluation.accumulators)
            self.accumulator_scale = evaluation.accumulator_scale
        for name, quantised in evaluation.activations.items():
            kept = quantised.integers[: max(0, N_ACTIVATIONS - part.start)]
            self.activations.setdefault(name, []).append(kept)
            self.scales[name] = quantised.scale

    def ends(self, prefix: str, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """What goes in and what comes out, as reals and as integers."""
        arrays = {"inputs": [inputs], "outputs": self.scores}
        if self.inputs_integer:
            arrays["inputs_integer"] = self.inputs_integer
        if self.accumulators:
            arrays["outputs_integer"] = self.accumulators
        return {prefix + key: np.concatenate(parts) for key, parts in arrays.items()}


def make_vectors(network: Network, dataset: Dataset) -> dict[str, np.ndarray]:
    """All arrays of `vectors.npz`, by the keys above.

    Raises:
        UserError: the network gives every sample the same scores.
    """
    exact, plain = ExactNetwork(network), _Float32Network(network)
    inputs = dataset.to_unit(network.arrange(dataset.test_images))
    test = _TestSet()
    for part, evaluation in exact.batches(inputs):
        test.add(part, evaluation)
        scores, differs = plain.compare(inputs[part], evaluation)
        test.float32_scores.append(scores)
        test.n_float32_activation_differs += int(differs.sum())
    vectors = {
        "labels": dataset.test_labels,
        "class_names": np.array(dataset.class_names),
        **test.ends("", inputs),
        "outputs_float32": np.concatenate(test.float32_scores),
        "n_float32_activation_differs": np.int64(test.n_float32_activation_differs),
    }
    _refuse_dead(vectors["outputs"], test)
    classes, float32_classes = (vectors[key].argmax(1) for key in ("outputs", "outputs_float32"))
    vectors["n_float32_class_differs"] = np.int64((classes != float32_classes).sum())
    if test.accumulator_scale is not None:
        vectors["outputs_integer/scale"] = test.accumulator_scale
    for name, parts in test.activations.items():
        vectors[f"activations/{name}"] = np.concatenate(parts)
        vectors[f"activations/{name}/scale"] = test.scales[name]
    return vectors | _extra(exact, network, dataset)


def _extra(exact: ExactNetwork, network: Network, dataset: Dataset) -> dict[str, np.ndarray]:
    """Training samples that fill a small test set up, for gates and never for accuracy."""
    n_extra = min(N_GATE_INPUTS - len(dataset.test_labels), len(dataset.train_labels))
    if n_extra <= 0:
        return {}
    inputs = dataset.to_unit(network.arrange(dataset.train_images[:n_extra]))
    extra = _TestSet()
    for part, evaluation in exact.batches(inputs):
        extra.add(part, evaluation)
    return extra.ends("extra_", inputs) | {"extra_labels": dataset.train_labels[:n_extra]}


def _refuse_dead(scores: np.ndarray, test: _TestSet) -> None:
    if (scores == scores[0]).all():
        constant = [
            name
            for name, parts in test.activations.items()
            if (np.concatenate(parts) == parts[0][0]).all()
        ]
        raise UserError(
            "the network's outputs do not vary",
            where="the whole test set",
            found=f"scores {np.array2string(scores[0], precision=4)} for every sample"
            + (f"; constant from {constant[0]} on" if constant else ""),
            expected="scores that depend on the input",
            fix="train it for longer, or with a lower training.learning_rate",
        )


class _Float32Network:
    """Plain float32 PyTorch: where it differs is the network's own noise."""

    def __init__(self, network: Network) -> None:
        self._network = frozen(network)
        self._seen: dict[str, np.ndarray] = {}
        for name, module in self._network.named_modules():
            if isinstance(module, QuantIdentity):
                module.register_forward_hook(
                    lambda _module, _inputs, output, name=name: self._seen.update(
                        {name: np.moveaxis(output.numpy(), 1, -1)}
                    )
                )

    @torch.no_grad()
    def compare(self, inputs: np.ndarray, exact: Evaluation) -> tuple[np.ndarray, np.ndarray]:
        """Scores, float32 (N, K), and on which samples any quantised activation is another."""
        scores = self._network(torch.tensor(inputs)).numpy()
        differs = np.zeros(len(scores), bool)
        for name, quantised in exact.activations.items():
            levels = _levels(self._seen[name], quantised)
            differs |= (levels != quantised.integers).reshape(len(levels), -1).any(axis=1)
        return scores, differs


def _levels(real: np.ndarray, quantised: Quantised) -> np.ndarray:
    """The levels of a float32 activation: its rounded multiples of the exact scale."""
    return np.rint(real / quantised.scale)
