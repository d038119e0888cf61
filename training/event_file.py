"""The metrics of a run as TensorBoard reads them: one event file beside `metrics.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

EVENTS = "events.out.tfevents.training"


class EventFile:
    """`EVENTS` in a folder, made anew of the lines of metrics so far, one event for each.

    A scalar is named as its key in `metrics.jsonl`, its step is the epoch, and its time the seconds
    of all epochs up to it: the same metrics make the same bytes.
    """

    def __init__(self, folder: Path, metrics: Iterable[dict[str, Any]]) -> None:
        self._file = open(folder / EVENTS, "wb")  # noqa: SIM115 (closed in __exit__)
        self._records = RecordWriter(self._file)
        self._seconds = 0.0
        self._records.write(Event(file_version="brain.Event:2").SerializeToString())
        for line in metrics:
            self.add(line)

    def add(self, line: dict[str, Any]) -> None:
        """Appends what is known of one more epoch, for TensorBoard to show at once."""
        self._seconds += line["seconds"]
        scalars = [
            Summary.Value(tag=key, simple_value=value)
            for key, value in line.items()
            if key != "epoch"
        ]
        event = Event(wall_time=self._seconds, step=line["epoch"], summary=Summary(value=scalars))
        self._records.write(event.SerializeToString())
        self._file.flush()

    def __enter__(self) -> EventFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
