"""The test vectors of a trained network: what every executor has to reproduce, bit for bit.

Keys of `vectors.npz`; N is the size of the whole test set, F the number of features, K of classes:

    inputs                  float32 (N, F): the test set as the network takes it, in [0, 1]; it is
                            what `input` takes in QONNX
    inputs_integer          int8 (N, F): as the accelerator takes it, the integers of the network's
                            own input quantiser, -1 and +1 where that is bipolar
    labels                  int64 (N,): the right classes
    class_names             str (K,)
    outputs                 float64 (N, K): scores, exactly evaluated; `scores` in QONNX
    outputs_integer         int32 (N, K): the last linear layer's sums of integer products
    outputs_integer/scale   float64 () or (K,): that layer's real outputs are scale * integer
    activations/T           int8 (100, C): every quantised activation of the first 100 samples, by
                            the name T of its tensor in QONNX, the input quantiser among them
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

import numpy as np
import torch
from brevitas.nn import QuantIdentity

from deploy.errors import UserError
from training.datasets import Dataset
from training.exact_evaluation import Evaluation, ExactNetwork, Quantised
from training.networks import FullyConnected, frozen

N_GATE_INPUTS = 1000
N_ACTIVATIONS = 100
_BATCH = 5000


def make_vectors(network: FullyConnected, dataset: Dataset) -> dict[str, np.ndarray]:
    """All arrays of `vectors.npz`, by the keys above.

    Raises:
        UserError: the network gives every sample the same scores.
    """
    exact = ExactNetwork(network)
    inputs = dataset.to_unit(dataset.test_images)
    evaluation = exact.evaluate(inputs)
    _refuse_dead(evaluation)
    vectors = {
        "labels": dataset.test_labels,
        "class_names": np.array(dataset.class_names),
        **_ends("", inputs, evaluation),
    }
    if evaluation.accumulator_scale is not None:
        vectors["outputs_integer/scale"] = evaluation.accumulator_scale
    for name, quantised in evaluation.activations.items():
        vectors[f"activations/{name}"] = quantised.integers[:N_ACTIVATIONS]
        vectors[f"activations/{name}/scale"] = quantised.scale
    vectors |= _float32_noise(network, inputs, evaluation)
    n_extra = min(N_GATE_INPUTS - len(inputs), len(dataset.train_images))
    if n_extra > 0:
        extra = dataset.to_unit(dataset.train_images[:n_extra])
        vectors |= _ends("extra_", extra, exact.evaluate(extra))
        vectors["extra_labels"] = dataset.train_labels[:n_extra]
    return vectors


def _ends(prefix: str, inputs: np.ndarray, evaluation: Evaluation) -> dict[str, np.ndarray]:
    """What goes in and what comes out, as reals and as integers."""
    arrays = {"inputs": inputs, "outputs": evaluation.scores}
    if "input_quantiser" in evaluation.activations:
        arrays["inputs_integer"] = evaluation.activations["input_quantiser"].integers
    if evaluation.accumulators is not None:
        arrays["outputs_integer"] = evaluation.accumulators
    return {prefix + key: array for key, array in arrays.items()}


def _refuse_dead(evaluation: Evaluation) -> None:
    scores = evaluation.scores
    if (scores == scores[0]).all():
        constant = [
            name
            for name, quantised in evaluation.activations.items()
            if (quantised.integers == quantised.integers[0]).all()
        ]
        raise UserError(
            "the network's outputs do not vary",
            where="the whole test set",
            found=f"scores {np.array2string(scores[0], precision=4)} for every sample"
            + (f"; constant from {constant[0]} on" if constant else ""),
            expected="scores that depend on the input",
            fix="train it for longer, or with a lower training.learning_rate",
        )


@torch.no_grad()
def _float32_noise(
    network: FullyConnected, inputs: np.ndarray, evaluation: Evaluation
) -> dict[str, np.ndarray]:
    """Plain float32 PyTorch on the same inputs, and on how many of them it differs."""
    network = frozen(network)
    seen: dict[str, np.ndarray] = {}
    for name, module in network.named_modules():
        if isinstance(module, QuantIdentity):
            module.register_forward_hook(
                lambda _module, _inputs, output, name=name: seen.update({name: output.numpy()})
            )
    outputs, n_activation_differs = [], 0
    for start in range(0, len(inputs), _BATCH):
        part = slice(start, start + _BATCH)
        outputs.append(network(torch.tensor(inputs[part])).numpy())
        differs = np.zeros(len(outputs[-1]), bool)
        for name, quantised in evaluation.activations.items():
            differs |= (_levels(seen[name], quantised) != quantised.integers[part]).any(axis=1)
        n_activation_differs += int(differs.sum())
    scores = np.concatenate(outputs)
    class_differs = scores.argmax(1) != evaluation.scores.argmax(1)
    return {
        "outputs_float32": scores,
        "n_float32_class_differs": np.int64(class_differs.sum()),
        "n_float32_activation_differs": np.int64(n_activation_differs),
    }


def _levels(real: np.ndarray, quantised: Quantised) -> np.ndarray:
    """The levels of a float32 activation: its rounded multiples of the exact scale."""
    return np.rint(real / quantised.scale)
