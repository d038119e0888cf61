"""Whether a bundle's code and bitstream may run here: only if a run at hand made the very same."""

from __future__ import annotations

from pathlib import Path

from deploy.bundle import Bundle
from deploy.errors import UserError
from deploy.run_directory import RunDirectory


def require_trust(bundle: Bundle, run: Path | None, trust: bool) -> None:
    """Passes if `trust`, or if each executable member's sha256 is that of `run`'s own bundle.

    Raises:
        UserError: it is neither; names the first member that differs.
    """
    if trust:
        return
    if run is None:
        raise UserError(
            "the bundle's code and bitstream are not trusted",
            where=str(bundle.path),
            found="nothing that vouches for them",
            fix="name the run that made the bundle (--run RUN), or say --trust",
        )
    made_by = f"python -m hw_build.flow run {run}"
    stages = sorted(run.glob("[0-9][0-9]_bundle")) if run.is_dir() else []
    folder = RunDirectory(run).stage(stages[-1].name if stages else "10_bundle", made_by=made_by)
    own = Bundle.read(folder / "bundle.zip").executables
    for name, found in bundle.executables.items():
        if own.get(name) != found:
            raise UserError(
                "the bundle's code or bitstream is not that of the run",
                where=f"{bundle.path}: {name}",
                found=f"sha256 {found[:12]}...",
                expected=f"{own[name][:12]}..., as in {run}" if name in own else f"none in {run}",
                fix="use the run's own bundle.zip, or say --trust",
            )
