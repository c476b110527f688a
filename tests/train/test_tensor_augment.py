"""Augmentation on a device does what augmentation on the CPU does, sample by sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torchvision.transforms import InterpolationMode, v2

from smartbin.brightness import BrightnessSettings, correct
from smartbin.images import BgrImage
from tests.conftest import draw_photo
from train.augmentation.augment import Augmentation
from train.augmentation.colour import FILL, recolour
from train.augmentation.config import Augment
from train.augmentation.draws import TRIVIAL, ColourStep, Operation, draw
from train.augmentation.lighting import relight
from train.augmentation.tensor_augment import crop_and_resize
from train.augmentation.tensor_colour import OPERATIONS
from train.augmentation.tensor_light import correct_brightness
from train.augmentation.tensor_light import relight as relight_batch
from train.augmentation.tensor_noise import random_bits, random_levels, random_normal
from train.device_photos import DeviceBatches, upload_photos
from train.loader import SampleKey

SIZE = 48
QUIET = {"light": 0.0, "erase": 0.0}
SHAPES = ((120, 160), (160, 120), (300, 200), (40, 90), (30, 30), (SIZE, SIZE))


@pytest.fixture(scope="module")
def images() -> list[BgrImage]:
    """Photos of several shapes, also smaller than the square."""
    return [draw_photo(number, *SHAPES[number % len(SHAPES)]) for number in range(24)]


def as_batch(images: list[BgrImage]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).flip(3).permute(0, 3, 1, 2).float()


def as_images(batch: torch.Tensor) -> np.ndarray:
    return batch.flip(1).permute(0, 2, 3, 1).numpy()


def keys_of(images: list[BgrImage]) -> list[SampleKey]:
    return [SampleKey(number % len(images), 7919 * number) for number in range(3 * len(images))]


def both_ways(images: list[BgrImage], settings: Augment) -> tuple[np.ndarray, np.ndarray]:
    """The same samples by `Augmentation` and by `DeviceBatches`, [N, S, S, 3]."""
    keys = keys_of(images)
    one = Augmentation(settings, SIZE, BrightnessSettings())
    batches = DeviceBatches(
        upload_photos(images, torch.device("cpu")), [0] * len(images), settings, SIZE, BrightnessSettings()
    )
    (batch,) = batches.load([keys])
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous()
    return np.stack([one(images[key.photo], key.seed) for key in keys]).astype(float), batch.images.numpy().astype(
        float
    )


@pytest.mark.parametrize("colour", ["none", "trivial", "jitter"])
def test_a_seed_gives_the_same_image_on_the_device(images: list[BgrImage], colour: str) -> None:
    settings = Augment(colour=colour, **QUIET)  # type: ignore[arg-type]
    ours, theirs = both_ways(images, settings)
    difference = np.abs(ours - theirs)
    assert difference.mean() < 0.25
    drawn = [draw(settings, *images[key.photo].shape[:2], SIZE, key.seed) for key in keys_of(images)]
    gentle = [not {"equalize", "autocontrast"} & {step.operation for step in each.colours} for each in drawn]
    assert difference[gentle].mean(axis=(1, 2, 3)).max() < 1  # those two make much of a level's difference
    assert (difference[gentle] > 2).mean() < 0.005


def test_noise_has_the_same_distribution_on_the_device(images: list[BgrImage]) -> None:
    ours, theirs = both_ways(images, Augment(colour="none", light=1.0, erase=1.0))
    assert not np.array_equal(ours, theirs)  # the noise itself is another one
    for measure in (np.mean, np.std):
        per_image = measure(ours, axis=(1, 2)) - measure(theirs, axis=(1, 2))
        assert abs(per_image.mean()) < 0.7
        assert np.abs(per_image).max() < 18


@pytest.mark.parametrize("light", [1 / 32, 0.25, 1.0, 2.0])
@pytest.mark.parametrize("binned", [1.0, 5.0])
def test_other_light_is_the_same_light(light: float, binned: float) -> None:
    steps = np.repeat(np.linspace(5, 250, 8).astype(np.uint8), 800).reshape(80, 80)
    card = np.stack([steps] * 3, axis=2)
    gains = (0.8, 1.0, 1.2)
    ours = relight(card, np.random.default_rng(0), light=light, gains_bgr=gains, binned=binned)
    theirs = as_images(
        relight_batch(
            as_batch([card]),
            torch.tensor([light]),
            torch.tensor([gains[::-1]]),
            torch.tensor([binned]),
            torch.tensor([77]),
        )
    )[0]
    for level in np.unique(steps):
        for channel in range(3):
            one, other = ours[steps == level][:, channel], theirs[steps == level][:, channel]
            spread = max(0.2, one.std())
            assert one.mean() == pytest.approx(other.mean(), abs=0.3 * spread)
            assert other.std() == pytest.approx(one.std(), abs=0.15 * spread)


@pytest.mark.parametrize("size", [96, 340], ids=["every pixel measured", "every second pixel measured"])
def test_brightness_correction_is_the_devices(size: int) -> None:
    settings = BrightnessSettings()
    photos = [
        np.clip(draw_photo(number, size, size) * factor, 0, 255).astype(np.uint8)
        for number, factor in enumerate((0.02, 0.1, 0.25, 0.4, 0.6, 0.9, 1.0, 1.3, 1.8))
    ]
    corrected = as_images(correct_brightness(as_batch(photos), settings))
    changed = 0
    for photo, found in zip(photos, corrected, strict=True):
        expected, exposure = correct(photo, settings)
        changed += exposure.corrected
        if not exposure.corrected:
            assert np.array_equal(found, photo)
        assert np.abs(found - expected.astype(float)).max() <= 1
    assert 3 <= changed < len(photos)


def test_no_brightness_correction_where_it_is_switched_off() -> None:
    dark = as_batch([draw_photo(0) // 9])
    assert correct_brightness(dark, BrightnessSettings(enabled=False)) is dark
    assert correct_brightness(dark, BrightnessSettings()).mean() > 2 * dark.mean()


def amounts_of(operation: Operation) -> list[float]:
    if operation == "hue":
        return [-0.03, 0.011, 0.03]
    return sorted({step.amount for step in _trivial_steps() if step.operation == operation})[::5]


@lru_cache(maxsize=1)
def _trivial_steps() -> list[ColourStep]:
    settings = Augment()
    return [draw(settings, 40, 40, 40, seed).colours[0] for seed in range(2800)]


@pytest.mark.parametrize("operation", [*TRIVIAL[1:], "hue"])
def test_operation_does_the_same_to_a_batch(operation: Operation) -> None:
    photos = [draw_photo(seed, 64, 64) for seed in range(4)]
    photos.append(np.full((64, 64, 3), 90, np.uint8))
    changed = False
    for amount in amounts_of(operation):
        expected = np.stack([recolour(photo, [ColourStep(operation, amount)]) for photo in photos]).astype(float)
        found = as_images(OPERATIONS[operation](as_batch(photos), torch.full((len(photos),), amount)))
        assert np.array_equal(found, found.round())
        difference = np.abs(found - expected)
        assert (difference > 1).mean() < 0.002, amount
        assert difference.mean() < 0.3, amount
        changed |= bool((expected[:4] != np.stack(photos[:4])).any())
    assert changed


def test_amounts_differ_from_sample_to_sample() -> None:
    photos = [draw_photo(0, 64, 64)] * 3
    found = as_images(OPERATIONS["brightness"](as_batch(photos), torch.tensor([0.5, 1.0, 1.5])))
    assert found[0].mean() < found[1].mean() < found[2].mean()
    assert np.array_equal(found[1], photos[0])


def test_trivial_augment_is_torchvisions() -> None:
    """The operations, their strengths and their effect; torchvision itself draws from a generator of the process."""
    theirs = v2.TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR, fill=FILL)
    names = {
        "saturation": "Color", "autocontrast": "AutoContrast", "shear_x": "ShearX", "shear_y": "ShearY",
        "translate_x": "TranslateX", "translate_y": "TranslateY",
    }  # fmt: skip
    assert [names.get(name, name.capitalize()) for name in TRIVIAL] == list(theirs._AUGMENTATION_SPACE)
    photo = draw_photo(3, 64, 64)
    rgb = v2.functional.to_pil_image(cv2.cvtColor(photo, cv2.COLOR_BGR2RGB))
    for operation in TRIVIAL:
        name = names.get(operation, operation.capitalize())
        magnitudes, signed = theirs._AUGMENTATION_SPACE[name]
        values = magnitudes(31, 64, 64)
        for amount in amounts_of(operation):
            centred = amount - 1 if operation in ("brightness", "saturation", "contrast", "sharpness") else amount
            given = centred / 255 if operation == "solarize" else centred
            if values is not None:
                known = [*values.tolist(), *((-values).tolist() if signed else ())]
                near = 1 if operation.startswith("translate") else 1e-5  # theirs cuts 15.999999 off to 15
                assert min(abs(value - given) for value in known) < near
            expected = theirs._apply_image_or_video_transform(rgb, name, given, theirs.interpolation, theirs._fill)
            expected_bgr = cv2.cvtColor(np.asarray(expected), cv2.COLOR_RGB2BGR)
            assert np.array_equal(recolour(photo, [ColourStep(operation, amount)]), expected_bgr), (operation, amount)


def test_every_operation_is_drawn_equally_often() -> None:
    drawn = Counter(step.operation for step in _trivial_steps())
    assert set(drawn) == set(TRIVIAL)
    assert min(drawn.values()) > 140
    assert max(drawn.values()) < 270


@pytest.mark.parametrize("shape", SHAPES)
def test_crop_and_resize_is_the_devices(shape: tuple[int, int]) -> None:
    from smartbin.preprocess import resize_square

    photo = draw_photo(5, *shape)
    top, left = shape[0] // 7, shape[1] // 5
    box = (top, left, shape[0] - 2 * top, shape[1] - left)
    expected = resize_square(photo[top : top + box[2], left : left + box[3]], SIZE).astype(float)
    (found,) = as_images(crop_and_resize([torch.from_numpy(photo)], [box], SIZE, (320, 333)))
    assert np.abs(found - expected).max() <= 1
    assert np.abs(found - expected).mean() < 0.3


def test_a_sample_does_not_depend_on_its_neighbours(images: list[BgrImage]) -> None:
    settings = Augment(light=0.7, erase=0.5)
    batches = DeviceBatches(
        upload_photos(images, torch.device("cpu")), list(range(24)), settings, SIZE, BrightnessSettings()
    )
    keys = [SampleKey(number, 31 * number) for number in range(24)]
    (whole,) = batches.load([keys])
    parts = list(batches.load([keys[20:][::-1], [keys[3]], keys[5:17]]))
    for place, number in enumerate(reversed(range(20, 24))):
        assert torch.equal(parts[0].images[place], whole.images[number])
    assert torch.equal(parts[1].images[0], whole.images[3])
    assert torch.equal(parts[2].images, whole.images[5:17])
    assert parts[0].labels.tolist() == [23, 22, 21, 20]


class Waits(TorchFunctionMode):
    """Notes what would make the CPU wait were the tensors on `meta` on a GPU, as far as `meta` does not refuse it."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __torch_function__(
        self, func: Callable[..., object], types: object, args: tuple[object, ...] = (), kwargs: object = None
    ) -> object:
        tensors = [value for value in args if isinstance(value, torch.Tensor) and value.device.type == "meta"]
        if tensors and func is torch.Tensor.__setitem__ and not isinstance(args[2], torch.Tensor):
            self.found.append(f"a number is set at {args[1]}")  # copied from the CPU, which waits for that
        return func(*args, **(kwargs or {}))  # type: ignore[arg-type]


def test_nothing_would_wait_for_a_gpu(images: list[BgrImage]) -> None:
    """A first look without one; the test below asks CUDA itself."""
    photos = upload_photos(images, torch.device("meta"))
    settings = Augment(light=1.0, erase=1.0)
    keys = [SampleKey(number % 24, 31 * number) for number in range(200)]
    drawn = {step.operation for key in keys for step in draw(settings, 40, 40, SIZE, key.seed).colours}
    assert drawn == set(TRIVIAL)
    with Waits() as waits:
        (batch,) = DeviceBatches(photos, [0] * 24, settings, SIZE, BrightnessSettings()).load([keys])
    assert batch.images.shape == (200, SIZE, SIZE, 3)
    assert waits.found == []
    with Waits() as waits:
        torch.ones(3, device="meta")[1] = 5
    assert waits.found == ["a number is set at 1"]


def test_uploaded_photos_are_the_photos_in_several_buffers(
    images: list[BgrImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    from train import device_photos

    monkeypatch.setattr(device_photos, "_CHUNK_BYTES", 100_000)
    uploaded = upload_photos(images, torch.device("cpu"))
    assert all(np.array_equal(there.numpy(), image) for there, image in zip(uploaded.photos, images, strict=True))
    assert uploaded.nbytes == sum(image.nbytes for image in images)
    assert uploaded.largest == (300, 200)
    assert len({photo.untyped_storage().data_ptr() for photo in uploaded.photos}) > 2


def test_random_bits_are_splitmix64() -> None:
    """The first outputs of Vigna's reference implementation for the seed 1234567."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [value % 2**64 for value in random_bits(torch.tensor([1234567]), 4)[0].tolist()] == expected


def test_noise_is_distributed_as_it_should_be() -> None:
    seeds = torch.tensor([1, 2, 2**62 + 5, -7])
    normal = random_normal(seeds, 20_001)
    assert normal.shape == (4, 20_001)
    assert normal.mean(1).abs().max() < 0.03
    assert (normal.std(1) - 1).abs().max() < 0.03
    assert ((normal.abs() > 2).float().mean(1) - 0.0455).abs().max() < 0.008
    assert (torch.corrcoef(normal) - torch.eye(4)).abs().max() < 0.03
    levels = random_levels(seeds, 20_000)
    assert levels.min() == 0
    assert levels.max() == 255
    assert torch.equal(levels, levels.round())
    assert (levels.mean(1) - 127.5).abs().max() < 2
    assert torch.equal(random_normal(seeds[2:3], 20_001)[0], normal[2])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_nothing_waits_and_the_result_is_the_cpus(images: list[BgrImage]) -> None:
    keys = [[SampleKey(number, 31 * number + batch) for number in range(24)] for batch in range(2)]
    found = []
    for device in ("cpu", "cuda"):
        batches = DeviceBatches(
            upload_photos(images, torch.device(device)), list(range(24)), Augment(), SIZE, BrightnessSettings()
        )
        list(batches.load(keys[:1]))
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("error")
        loaded = list(batches.load(keys))
        torch.cuda.set_sync_debug_mode("default")
        found.append(torch.stack([batch.images.cpu() for batch in loaded]).float())
    difference = (found[0] - found[1]).abs()
    assert difference.mean() < 0.25
    assert (difference > 2).float().mean() < 0.005
