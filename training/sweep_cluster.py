"""Where a sweep's points are trained on other machines: a Dask cluster, SLURM's if need be."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.child import stop
from deploy.errors import MachineError, UserError

if TYPE_CHECKING:
    from distributed import Client

_SECTION = "jobqueue.slurm"
_BETWEEN_JOBS = "60s"  # so that jobs that fail at once don't flood the queue


@contextmanager
def cluster_executor(where: str, n_jobs: int, sweep: str) -> Iterator[Executor]:
    """Runs points on the cluster at `where`; ends those of `sweep` where this is left early.

    `where` is the address of a Dask scheduler, or a YAML file with dask-jobqueue's section
    `jobqueue: slurm:`. Then `n_jobs` jobs are kept in SLURM's queue until this is left; one whose
    worker is lost, at its wall time for one, is followed by another. The point that a lost worker
    was training is gone on with by another, from its last whole epoch, three times at most.

    Raises:
        UserError: the file is wrong, or SLURM refuses its jobs.
        MachineError: no scheduler answers, or there is no SLURM.
    """
    with _client(where, n_jobs) as client:
        # One key for each call: the same job may have to run again in another sweep.
        executor = client.get_executor(pure=False)
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False)
            client.run(stop, sweep)
            raise


@contextmanager
def _client(where: str, n_jobs: int) -> Iterator[Client]:
    from distributed import Client

    if Path(where).suffix in (".yaml", ".yml"):
        with _slurm_cluster(Path(where), n_jobs) as cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(where, timeout="10s")
    except (OSError, ValueError) as error:
        raise MachineError(
            "no Dask scheduler answers", where=f"--dask {where}", found=str(error)
        ) from error
    with client:
        yield client


@contextmanager
def _slurm_cluster(path: Path, n_jobs: int) -> Iterator[Any]:
    import dask
    import dask_jobqueue

    section = _read_section(path, known=dask.config.get(_SECTION))
    for command in ("sbatch", "scancel"):
        if shutil.which(command) is None:
            raise MachineError(
                "there is no SLURM on this machine",
                where=f"--dask {path}",
                found=f"no {command} on the PATH",
                fix="start the sweep on a machine that may submit jobs",
            )
    with dask.config.set({_SECTION: {**dask.config.get(_SECTION), **section}}):
        try:
            cluster = dask_jobqueue.SLURMCluster()
        except (TypeError, ValueError) as error:
            raise _wrong(path, str(error), "see dask-jobqueue's SLURMCluster") from error
        with cluster:
            _try_out(cluster.job_script(), path)
            cluster.scale(jobs=n_jobs)
            cluster.adapt(minimum_jobs=n_jobs, maximum_jobs=n_jobs, interval=_BETWEEN_JOBS)
            yield cluster


def _try_out(script: str, path: Path) -> None:
    """Has SLURM look at a job without taking it: later Dask would only wait for its workers."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        command = ["sbatch", "--test-only", file.name]
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode:
        raise UserError(
            "SLURM refuses the sweep's jobs",
            where=f"--dask {path}",
            found=tried.stderr.strip() or f"exit code {tried.returncode} of sbatch --test-only",
            fix=f"change {_SECTION} there",
        )


def _read_section(path: Path, known: dict[str, Any]) -> dict[str, Any]:
    import yaml

    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _wrong(path, str(error), "a YAML file") from error
    section = table
    for key in _SECTION.split("."):
        section = section.get(key) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        raise _wrong(path, f"{table}"[:60], "jobqueue: slurm: and its keys below")
    for key in section:
        if key not in known:
            raise _wrong(path, f"{_SECTION}.{key}", "one of " + ", ".join(sorted(known)))
    return section


def _wrong(path: Path, found: str, expected: str) -> UserError:
    return UserError(
        "the file is no configuration of dask-jobqueue for SLURM",
        where=f"--dask {path}",
        found=found,
        expected=expected,
    )
