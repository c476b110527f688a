"""A run from beginning to end: set up, fit, finish. Reads in the order in which things happen.

In: a `TrainConfig` and a run directory, new or to be resumed. Out: the finished run directory. `train/run.py` calls it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from smartbin.errors import TrainingError
from train.checkpoint import has_state
from train.config import TrainConfig
from train.console import progress, say
from train.delivery import best_epoch, has_stopped_early
from train.finish import finish
from train.inference import classify
from train.kept_batches import KeptBatches
from train.loader import Batch, Samples
from train.machine import seed_step
from train.metrics import Epoch, Score, score
from train.objective import objectives
from train.ranks import any_rank, rank, same_buffers, wait_for_all, weight_of_share
from train.schedule import rate_factor
from train.set_up import set_up
from train.stopping import Stopped, StopWish, stop_on_signals
from train.timing import StepTimes
from train.training import Training, restore, save

if TYPE_CHECKING:
    from train.report.event_log import EventLog

Mix: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Inputs [N, 3, S, S] and labels [N] to mixed inputs and targets, [N] or [N, C]."""


def train(config: TrainConfig, path: Path, *, resume: bool = False) -> None:
    """Run `config` into the directory `path`; with `resume`, continue what is there.

    A run that was killed in its first epoch begins at its first step, with the split that it recorded. Raises
    `DataError` or `WeightsError` before the first epoch, `Stopped` after a signal, once the state is saved.
    """
    goes_on = resume and has_state(path)
    training = set_up(config, path)
    if training.fabric.broadcast(goes_on):  # what the first rank, which writes, has seen
        restore(training)
    elif resume:
        say("no epoch was done before: the run begins at its first step")
    with event_log(training) as events:
        with stop_on_signals() as wish:
            fit(training, wish, events)
        finish(training)
        if events is not None:
            events.pictures(path, training.position.epoch)
    wait_for_all()  # the first rank has written everything now


@contextmanager
def event_log(training: Training) -> Iterator[EventLog | None]:
    """TensorBoard's events of the run; None for other ranks than the first, and where it is switched off."""
    if not training.config.tensorboard or rank() != 0:
        yield None
        return
    from train.report.event_log import EventLog  # its imports take a second

    with closing(EventLog(training.path, training.position.history)) as events:
        yield events


def fit(training: Training, wish: StopWish, events: EventLog | None = None) -> None:
    """All epochs that are left: train one, validate, save."""
    epochs, recipe, position = training.config.epochs, training.config.recipe, training.position
    if not position.epoch and not position.step:
        validate(training, 0.0, 0.0, first=2)  # two batches of validation fail now rather than after an epoch
    while position.epoch < epochs and not has_stopped_early(position.history, recipe.patience):
        record = run_epoch(training, wish)
        say(_line(record, epochs))
        if events is not None:
            events.epoch(record)
    if position.epoch < epochs:
        say(f"stopped early: {recipe.patience} epochs brought nothing better than epoch {best_epoch(position.history)}")


def run_epoch(training: Training, wish: StopWish) -> Epoch:
    """What is left of an epoch, its validation, and the state saved. `Stopped` after a signal."""
    position = training.position
    begun_s = time.monotonic()
    photos = train_epoch(training, wish)
    trained_s = time.monotonic() - begun_s
    epoch_s = position.epoch_seconds + trained_s
    record = validate(training, epoch_s, photos / epoch_s)
    _check_finite(record, training.path)
    timing = training.times.summary(validation_s=time.monotonic() - begun_s - trained_s)
    record = record.model_copy(update={"rates": training.rates(), "timing": timing})
    position.history.append(record)
    if training.config.recipe.deliver == "best" and best_epoch(position.history) == record.epoch:
        training.best = {name: value.cpu().clone() for name, value in training.average.state_dict().items()}
    position.epoch += 1
    position.step = 0
    position.epoch_seconds = 0.0
    training.losses.restart()
    position.seconds += time.monotonic() - begun_s
    save(training)
    return record


def _check_finite(record: Epoch, path: Path) -> None:
    """`TrainingError`, before anything is saved, if the network has become useless."""
    for name, loss in (("training", record.train_loss), ("validation", record.val_loss)):
        if not math.isfinite(loss):
            raise TrainingError(
                "training has diverged",
                where=f"epoch {record.epoch} of {path}",
                found=f"a {name} loss of {loss}",
                expected="a number",
                fix="begin anew with a lower --head-rate and --backbone-rate, or with --clip-norm 1; the state of the "
                "epoch before is kept",
            )


def train_epoch(training: Training, wish: StopWish) -> int:
    """The batches of an epoch that are left; returns the number of photos in all of them. `Stopped` after a signal."""
    config, position = training.config, training.position
    batches = training.batches(position.epoch)
    mix = _mixing(config, len(training.data.classes))
    training.forward.train()
    training.frozen.rest(training.model)
    begun_s = time.monotonic()
    times = training.times = StepTimes(training.fabric.device)
    with progress(f"epoch {position.epoch + 1}/{config.epochs}", len(batches)) as advance:
        advance(position.step, "")
        for batch in times.waiting(training.supply.load(batches[position.step :])):
            train_step(training, batch, mix, len(batches), len(batches[position.step]))
            advance(1, training.losses.note(position.step))
            if (number := any_rank(wish.number)) is not None:
                trained_s = time.monotonic() - begun_s
                position.seconds += trained_s
                position.epoch_seconds += trained_s
                save(training)
                wait_for_all()
                raise Stopped(number)
    return sum(map(len, batches))


def train_step(training: Training, batch: Batch, mix: Mix, steps: int, photos: int) -> None:
    """Forward, backward, one step of optimizer and moving average; `photos` are in the whole batch, of all ranks."""
    recipe, position, fabric = training.config.recipe, training.position, training.fabric
    times = training.times
    times.begin(len(batch.labels))
    seed_step(fabric.device, training.config.seed, position.epoch, position.step)
    step = position.epoch * steps + position.step
    total = training.config.epochs * steps
    factor = rate_factor(step, total, round(recipe.warmup * total), recipe.schedule)
    for group, base in zip(training.optimizer.param_groups, training.base_rates, strict=True):
        group["lr"] = base * factor
    images = batch.images.to(fabric.device, non_blocking=True)
    labels = batch.labels.to(fabric.device, non_blocking=True)
    inputs, targets = mix(training.inputs(images), labels)
    times.lap("input")
    training.optimizer.zero_grad(set_to_none=True)
    objective = plain = torch.zeros((), device=fabric.device)
    count = min(recipe.accumulate, len(inputs))  # an empty part has no mean
    parts = zip(inputs.tensor_split(count), targets.tensor_split(count), strict=True)
    for part_inputs, part_targets in parts:
        share = len(part_inputs) / len(inputs) * weight_of_share(len(inputs), photos)
        minimised, loss = _objectives(training, part_inputs, part_targets)
        times.lap("forward")
        fabric.backward(minimised * share)
        times.lap("backward")
        objective, plain = objective + minimised.detach() * share, plain + loss * share
    if recipe.clip_norm:
        fabric.clip_gradients(training.forward, training.optimizer, max_norm=recipe.clip_norm, error_if_nonfinite=False)
    training.optimizer.step()
    if recipe.pull:
        training.anchor.pull(training.model, training.optimizer, recipe.pull)
    if training.ema:
        training.ema.update(training.model, step=step + 1)
    times.lap("optimizer")
    times.end()
    training.losses.add(plain, objective)
    position.step += 1


def _objectives(training: Training, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Forward: what is minimised and the plain loss, with all that the network is taught besides the labels."""
    recipe, knowledge = training.config.recipe, training.knowledge
    with nullcontext([]) if knowledge is None else knowledge.watching() as features:
        outputs = training.forward(inputs)
    soft = training.teachers.soft_targets(inputs) if training.teachers else None
    minimised, loss = objectives(outputs, targets, recipe, soft)
    if knowledge is not None:
        with training.fabric.autocast():
            answers = knowledge.answers(inputs)
        minimised = minimised + recipe.keep * knowledge.loss(features[0], answers)
    return minimised, loss


def validate(training: Training, seconds: float, images_per_second: float, first: int = 0) -> Epoch:
    """Score the validation photos (only `first`, if given) with the moving average and with the plain weights."""
    position = training.position
    loss_sum, objective_sum = training.losses.sums()
    same_buffers(training.model, training.average)
    scored = [training.average] if training.average is training.model else [training.average, training.model]
    samples, kept = (training.val_samples(first), None) if first else (training.val_samples(), training.validation)
    scores = [_score(training, model, samples, kept) for model in scored]
    average, raw = scores[0], scores[-1]
    chosen = training.plain_samples()
    kept = training.plain_train
    plain_train = _score(training, training.average, chosen, kept) if len(chosen) and not first else None
    return Epoch(
        epoch=position.epoch + 1,
        train_loss=loss_sum / max(1, position.step),
        train_objective=objective_sum / max(1, position.step),
        val_loss=average.loss,
        val_accuracy=average.accuracy,
        val_macro_f1=average.macro_f1,
        raw_val_loss=raw.loss,
        raw_val_accuracy=raw.accuracy,
        raw_val_macro_f1=raw.macro_f1,
        rate=max(group["lr"] for group in training.optimizer.param_groups),
        seconds=seconds,
        images_per_second=images_per_second,
        plain_train_loss=plain_train.loss if plain_train else None,
    )


def _score(training: Training, model: nn.Module, samples: Samples, kept: KeptBatches | None) -> Score:
    """Score photos at the precision of training; `kept` are those of earlier times."""
    outputs = classify(
        training.front.front.back_of(model) if training.front else model,
        training.architecture,
        samples,
        training.fabric,
        workers=0 if training.front else training.evaluation_workers,
        title="validating",
        kept=kept,
    )
    return score(outputs, samples.classes)


def _mixing(config: TrainConfig, classes: int) -> Mix:
    mixes: list[v2.Transform] = []
    if config.recipe.mixup:
        mixes.append(v2.MixUp(alpha=config.recipe.mixup, num_classes=classes))
    if config.recipe.cutmix:
        mixes.append(v2.CutMix(alpha=config.recipe.cutmix, num_classes=classes))
    if not mixes:
        return lambda images, labels: (images, labels)
    chosen: Mix = v2.RandomChoice(mixes)
    return chosen


def _line(record: Epoch, epochs: int) -> str:
    plain = "" if record.plain_train_loss is None else f" (not augmented {record.plain_train_loss:.3f})"
    return (
        f"epoch {record.epoch:3d}/{epochs}  train loss {record.train_loss:.3f}{plain}  val loss {record.val_loss:.3f}  "
        f"val accuracy {record.val_accuracy:.4f} (plain weights {record.raw_val_accuracy:.4f})  "
        f"macro F1 {record.val_macro_f1:.4f}  {record.images_per_second:.1f} photos/s  {record.seconds:.0f} s"
    )
