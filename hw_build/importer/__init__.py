"""QONNX straight to the exact integer graph: no streamlining, thresholds by exact evaluation."""

from hw_build.importer.model import import_qonnx, read_model

__all__ = ["import_qonnx", "read_model"]
