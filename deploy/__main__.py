"""`python -m deploy`: see `deploy.commands`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from deploy.commands import main
        from deploy.terminal import run_command
    except ImportError as error:
        print(
            f"error: a package is missing\n  found:    {error}\n"
            "  to do:    on a board, run in its pynq virtual environment: "
            ". /etc/profile.d/pynq_venv.sh; at home, make setup",
            file=sys.stderr,
        )
        sys.exit(3)
    sys.exit(run_command(main))
