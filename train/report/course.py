"""The sections of a report on how a run went: its losses, its speed, and everything that it was made with."""

from __future__ import annotations

from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from smartbin.config import dotted
from smartbin.errors import CheckpointError
from train.checkpoint import CONFIG_FILE, TrainedRun
from train.datasets.sources import PARTS
from train.metrics import LossParts
from train.networks.architectures import architecture_of
from train.report.document import Block, Facts, Section, Table, Text, duration
from train.report.figure_files import picture
from train.report.plots import draw_curves
from train.timing import EVERY


def loss_section(run: TrainedRun) -> Section:
    """Training loss and validation loss, and what lies between them. Needs a history."""
    metrics = run.metrics
    last, plain, validation = metrics.history[-1], metrics.train.loss, run.validation.loss
    above = last.train_loss - validation
    verdict = f"{'above' if above > 0 else 'below'} the validation loss, by {abs(above):.4f}"
    rows = (
        ("minimised: augmented, with label smoothing and the like, last epoch", f"{last.train_objective:.4f}"),
        ("training photos, augmented, dropout on, last epoch", f"{last.train_loss:.4f}"),
        ("training photos, not augmented, final weights", f"{plain:.4f}"),
        ("validation photos, final weights", f"{validation:.4f}"),
    )
    return Section(
        "Training loss and validation loss",
        (
            Text(
                f"The running training loss is {verdict}: {last.train_loss - plain:+.4f} come from augmentation, "
                f"regularisation and not yet averaged weights, "
                f"{plain - validation:+.4f} are the difference between training and validation photos on equal terms."
            ),
            Table("Loss (cross-entropy a photo)", ("", "loss"), rows),
            *(_causes(metrics.loss_parts) if metrics.loss_parts else ()),
            picture(
                "curves",
                lambda: draw_curves(metrics),
                alt=f"Learning curves: in the last epoch the training loss is {last.train_loss:.3f}, the validation "
                f"loss {last.val_loss:.3f}, the validation accuracy {last.val_accuracy:.4f} and the head's learning "
                f"rate {last.rate:.2g}.",
                caption="Losses are without label smoothing. The training curve is the running mean over augmented "
                "photos with dropout on; the dotted line is the same photos as the device would see them.",
            ),
            _epochs_table(run),
        ),
    )


def _causes(parts: LossParts) -> tuple[Block, ...]:
    """What makes the loss of a training step higher than that of the same photos in evaluation: cause by cause."""
    causes = {
        "augmentation": parts.augmented,
        "dropout and stochastic depth": parts.dropout,
        "batch norm by the batch instead of the running statistics": parts.batch_statistics,
    }
    if parts.not_averaged is not None:
        causes["the plain weights instead of their moving average"] = parts.not_averaged
    rows = [(f"{name}, alone", f"{loss:.4f}", f"{loss - parts.plain:+.4f}") for name, loss in causes.items()]
    together = parts.augmented_training if parts.not_averaged_training is None else parts.not_averaged_training
    largest = max(causes, key=lambda name: causes[name])
    text = (
        f"What a training step sees, taken apart on the same {parts.photos} training photos with the final weights: "
        f"everything together adds {together - parts.plain:+.4f} to the plain {parts.plain:.4f}, and the largest "
        f"single cause is {largest} ({causes[largest] - parts.plain:+.4f})."
    )
    if together <= parts.plain:
        text = (
            f"On the same {parts.photos} training photos, with the final weights, what a training step does to them "
            f"makes their loss no higher ({together:.4f} against {parts.plain:.4f})."
        )
    table = Table(
        "Causes of a higher training loss, each alone",
        ("", "loss", "difference"),
        (
            ("as validation photos are scored", f"{parts.plain:.4f}", "–"),
            *rows,
            ("everything together, as in training", f"{together:.4f}", f"{together - parts.plain:+.4f}"),
        ),
    )
    return Text(text), table


def _epochs_table(run: TrainedRun) -> Table:
    rows = tuple(
        (
            str(record.epoch),
            f"{record.train_loss:.4f}",
            "–" if record.plain_train_loss is None else f"{record.plain_train_loss:.4f}",
            f"{record.val_loss:.4f}",
            f"{record.val_accuracy:.4f}",
            f"{record.val_macro_f1:.4f}",
            f"{record.raw_val_accuracy:.4f}",
            f"{record.rate:.2e}",
            f"{record.seconds:.1f}",
        )
        for record in run.metrics.history
    )
    columns = (
        "epoch",
        "training loss",
        "not augmented",
        "validation loss",
        "accuracy",
        "macro F1",
        "plain weights",
        "rate",
        "seconds",
    )
    return Table("Every epoch", columns, rows, folded=True)


def speed_section(run: TrainedRun) -> Section | None:
    """Where the time of a training step went; None for runs that did not measure it."""
    timings = [record.timing for record in run.metrics.history if record.timing is not None]
    if not timings:
        return None
    photos = sum(timing.measured_photos for timing in timings)
    parts = {
        name: sum(timing.parts()[name] * timing.measured_photos for timing in timings) / photos
        for name in timings[0].parts()
    }
    total = sum(parts.values())
    rows = tuple((name, f"{part:.3f}", f"{part / max(total, 1e-12):.1%}") for name, part in parts.items())
    validation_s = sum(timing.validation_s for timing in timings) / len(timings)
    epochs = [record.seconds for record in run.metrics.history]
    heat = tuple((0.0, part / max(total, 1e-12)) for part in parts.values())
    before = (
        f" Before the first epoch {run.metrics.set_up_seconds:.1f} s went into what is computed once: the head's "
        "probe, cut-outs of items, what a frozen front makes of the photos, as far as the settings ask for them."
        if run.metrics.set_up_seconds
        else ""
    )
    return Section(
        "Speed",
        (
            Text(
                f"{run.metrics.images_per_second:.1f} training photos a second, {sum(epochs) / len(epochs):.1f} s an "
                f"epoch for training and {validation_s:.1f} s for validation, on {run.metrics.device} in "
                f"{run.metrics.precision}. Waiting for data took {rows[0][2]} of a step.{before}"
            ),
            Table(
                "Where a training step's time went, mean over the epochs",
                ("", "milliseconds a photo", "part of the step"),
                (*rows, ("together", f"{total:.3f}", "100.0%")),
                (*heat, (0.0, 0.0)),
            ),
            Text(
                f"Measured on {photos} photos. On a GPU the parts after the waiting are the device's own times, of "
                f"every {EVERY}th step; waiting is what the CPU saw, and the GPU may have been at work meanwhile.",
                quiet=True,
            ),
        ),
    )


def provenance_section(run: TrainedRun) -> Section:
    """Data, hardware, versions, settings."""
    metrics, spec = run.metrics, run.preprocess
    facts = {
        "starting weights": metrics.starting_weights or run.weights,
        "data": f"{run.data}, split {run.split.split}, fingerprint {run.data_fingerprint}",
        "photos": ", ".join(f"{part} {len(run.split.parts[part])}" for part in PARTS),
        "network input": f"{sizes_of(run)}, brightness correction {'on' if spec.brightness.enabled else 'off'}",
        "seed": str(run.seed),
        "time": f"{duration(metrics.seconds)}, {metrics.images_per_second:.1f} training photos a second",
        "hardware": f"{metrics.device}, {metrics.precision}",
        "software": metrics.software,
        "commit": run.git_commit or "not a git checkout",
        "files": "settings: config.toml; every validation photo: predictions.csv; logits: outputs.npz; "
        "all figures: metrics.json and report.json",
    }
    blocks: list[Block] = [Facts(tuple((name, fact) for name, fact in facts.items() if fact))]
    if (run.path / CONFIG_FILE).is_file():
        blocks.append(Table("All settings", ("setting", "value"), settings_of(run.path), folded=True))
    return Section("How it was made", tuple(blocks))


def train_side(run: TrainedRun) -> int:
    """Side of a training image, pixels: as set, else the architecture's."""
    return int(dict(settings_of(run.path)).get("train_size", "0")) or architecture_of(run.architecture).train_size


def sizes_of(run: TrainedRun) -> str:
    """`trained at 192 px, tested at 224 px`; of the test alone where the run's settings are gone."""
    tested = f"tested at {run.preprocess.size} px"
    return f"trained at {train_side(run)} px, {tested}" if (run.path / CONFIG_FILE).is_file() else tested


def settings_of(run: Path) -> tuple[tuple[str, str], ...]:
    """Dotted name and value of every setting in a run's `config.toml`; `CheckpointError` if it is damaged."""
    file = run / CONFIG_FILE
    try:
        content = tomlkit.parse(file.read_text(encoding="utf-8")).unwrap()
    except (OSError, TOMLKitError, UnicodeDecodeError) as error:
        raise CheckpointError("cannot read the run's settings", where=file, found=error) from error
    return tuple((name, str(value)) for name, value in dotted(content).items())
