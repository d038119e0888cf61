"""Where many bitstreams are built at once on other machines: a Dask cluster, SLURM's if need be."""

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

_BETWEEN_JOBS = "60s"  # so that jobs that fail at once don't flood the queue


@contextmanager
def cluster(where: str, n_jobs: int, call: str) -> Iterator[Executor]:
    """Waits for builds on a cluster; those of `call` are ended where this is left early.

    `where` is the address of a Dask scheduler, or a YAML file with dask-jobqueue's section
    `jobqueue: slurm:`; then `n_jobs` jobs are kept in SLURM's queue until this is left. The build
    of a worker that is lost is gone on with by another, three times at most.

    Raises:
        UserError: the file is wrong.
        MachineError: no scheduler answers, or there is no SLURM.
    """
    from distributed import Client

    if Path(where).suffix in (".yaml", ".yml"):
        with _slurm(Path(where), n_jobs) as slurm, Client(slurm) as client:
            yield from _executor(client, call)
        return
    try:
        client = Client(where, timeout="10s")
    except (OSError, ValueError) as error:
        raise MachineError(
            "no Dask scheduler answers", where=f"--dask {where}", found=str(error)
        ) from error
    with client:
        yield from _executor(client, call)


def _executor(client: Client, call: str) -> Iterator[Executor]:
    # One key for each call: the same job may have to run again in another one.
    executor = client.get_executor(pure=False)
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False)
        client.run(stop, call)
        raise


@contextmanager
def _slurm(path: Path, n_jobs: int) -> Iterator[Any]:
    import dask
    import dask_jobqueue
    import yaml

    where = f"--dask {path}"
    for command in ("sbatch", "scancel"):
        if shutil.which(command) is None:
            raise MachineError(
                "there is no SLURM on this machine",
                where=where,
                found=f"no {command} on the PATH",
                fix="start the builds on a machine that may submit jobs",
            )
    wrong = (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError)
    try:
        section = yaml.safe_load(path.read_text(encoding="utf-8"))["jobqueue"]["slurm"]
        known = dask.config.get("jobqueue.slurm")
        if unknown := sorted(section.keys() - known.keys()):
            raise KeyError(f"jobqueue.slurm.{unknown[0]}")
    except wrong as error:
        raise _wrong(where, error) from error
    # Each job reads it as it is made, the later ones too.
    with dask.config.set({"jobqueue.slurm": {**known, **section}}):
        try:
            made = dask_jobqueue.SLURMCluster()
        except wrong as error:
            raise _wrong(where, error) from error
        with made:
            _try_out(made.job_script(), where)
            made.adapt(minimum_jobs=n_jobs, maximum_jobs=n_jobs, interval=_BETWEEN_JOBS)
            yield made


def _wrong(where: str, error: Exception) -> UserError:
    return UserError(
        "the file is no configuration of dask-jobqueue for SLURM",
        where=where,
        found=str(error),
        expected="jobqueue: slurm: and its keys below",
    )


def _try_out(script: str, where: str) -> None:
    """Has SLURM look at a job without taking it: later Dask would only wait for its workers."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        command = ["sbatch", "--test-only", file.name]
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode:
        raise UserError(
            "SLURM refuses the jobs of the builds",
            where=where,
            found=tried.stderr.strip() or f"exit code {tried.returncode} of sbatch --test-only",
            fix="change jobqueue.slurm there",
        )
