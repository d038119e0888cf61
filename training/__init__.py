"""Training: from a TOML config to a trained low-bit network, to QONNX and test vectors."""

import warnings

# Brevitas warns of an optional kernel that nothing here uses, on every start.
warnings.filterwarnings("ignore", message="fast_hadamard_transform package not found")
