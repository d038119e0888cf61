"""From RTL to a bitstream with Vivado: a plan that is pure data, and what carries it out.

Not yet run on Vivado by this project: every script is checked by a Tcl interpreter with stand-ins
for Vivado's commands, and nothing more. See docs/bitstream.md.
"""

CAVEAT = "Not yet run on Vivado by this project"
"""Stands in every script, record and page; goes when a bitstream of it has run on a board."""
