"""The integer graph through FINN+: in FINN's dialect, executed, compared exactly, estimated."""
