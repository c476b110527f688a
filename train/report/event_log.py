"""TensorBoard's view of a run, in RUN/tensorboard: figures of every epoch, and the report's pictures at the end.

Everything comes from the history of the run. A run that goes on writes it anew in the place of what stood there: an
epoch that was done twice, because the first try was killed, stands there once. Records are written in this thread:
`SummaryWriter` has one of its own, and loader processes are forked beside it.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import summary

from train.metrics import Epoch

EVENTS_FOLDER = "tensorboard"
_VERSION = "brain.Event:2"


class EventLog:
    """An open file of events. What is written is on disk at once, for a reader that watches."""

    def __init__(self, path: Path, history: Sequence[Epoch] = ()) -> None:
        """Begin the events of the run in `path`, which has come as far as `history`."""
        folder = path / EVENTS_FOLDER
        folder.mkdir(exist_ok=True)
        older = list(folder.glob("events.out.tfevents.*"))
        # a name later than the others', so that a reader that is watching goes on to it
        number = max([int(time.time()), *(int(file.name.split(".")[3]) + 1 for file in older)])
        self._file = (folder / f"events.out.tfevents.{number}.smartbin").open("wb")
        self._records = RecordWriter(self._file)
        self._write(Event(wall_time=time.time(), file_version=_VERSION))
        self._write(Event(wall_time=time.time(), step=0, session_log=SessionLog(status=SessionLog.START)))
        for record in history:
            self.epoch(record)
        for file in older:
            file.unlink()

    def epoch(self, record: Epoch) -> None:
        """The figures of an epoch, at the step of its number."""
        for name, value in epoch_scalars(record).items():
            self._add(summary.scalar(name, value), record.epoch)  # type: ignore[no-untyped-call]

    def pictures(self, path: Path, step: int) -> None:
        """The pictures that the report has left in the run directory."""
        for file in sorted(path.glob("*.png")):
            pixels = np.asarray(Image.open(io.BytesIO(file.read_bytes())).convert("RGB"))
            self._add(summary.image(file.stem, pixels, dataformats="HWC"), step)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """No more will come."""
        self._file.close()

    def _add(self, content: Summary, step: int) -> None:
        self._write(Event(wall_time=time.time(), step=step, summary=content))

    def _write(self, event: Event) -> None:
        self._records.write(event.SerializeToString())
        self._file.flush()


def epoch_scalars(record: Epoch) -> dict[str, float]:
    """Tag to value of everything that is drawn over the epochs."""
    scalars = {
        "loss/training, augmented": record.train_loss,
        "loss/minimised": record.train_objective,
        "loss/validation": record.val_loss,
        "accuracy/validation": record.val_accuracy,
        "accuracy/validation, plain weights": record.raw_val_accuracy,
        "macro F1/validation": record.val_macro_f1,
        "speed/seconds": record.seconds,
        "speed/training photos a second": record.images_per_second,
        "rate/highest": record.rate,
    }
    if record.plain_train_loss is not None:
        scalars["loss/training, not augmented"] = record.plain_train_loss
    for group in record.rates:
        scalars[f"rate/{group.name}"] = group.rate
    if (timing := record.timing) is not None:
        scalars |= {f"milliseconds a photo/{name}": value for name, value in timing.parts().items()}
        scalars["speed/validation seconds"] = timing.validation_s
    return scalars
