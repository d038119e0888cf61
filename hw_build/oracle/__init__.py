"""An independent float64 executor of QONNX. It shares no code with the importer."""

from hw_build.oracle.executor import Oracle

__all__ = ["Oracle"]
