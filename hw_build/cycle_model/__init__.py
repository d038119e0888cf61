"""An exact model of the accelerator's handshakes, without data: which beat moves in which cycle."""
