"""Whether a bundle's code and bitstream may run here: only if a run at hand made the very same."""

from __future__ import annotations

from pathlib import Path

from deploy.bundle import Bundle
from deploy.errors import UserError
from deploy.run_directory import RunDirectory


def require_trust(bundle: Bundle, run: Path | None, trust: bool) -> None:
    """Passes if `trust`, or if the executable members are those of `run`'s own bundle, all of
    them and by their sha256.

    Raises:
        UserError: it is neither; names the first member that differs, or is missing.
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
    given = bundle.executables
    for name in sorted({*own, *given}):
        if own.get(name) != given.get(name):
            raise UserError(
                "the bundle's code or bitstream is not that of the run",
                where=f"{bundle.path}: {name}",
                found=f"sha256 {given[name][:12]}..." if name in given else "none",
                expected=f"{own[name][:12]}..., as in {run}" if name in own else f"none in {run}",
                fix="use the run's own bundle.zip, or say --trust",
            )
