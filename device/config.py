"""The daemon's configuration: sections, their keys and defaults. `device/smartbin.toml` shows every one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from device.bundles import BundleSettings
from device.camera_settings import CameraSettings, RtspSettings
from device.capture import ReconnectSettings
from device.decision import DecisionSettings
from device.fleet.settings import FleetSettings
from device.identity import DeviceSettings
from device.presence import PresenceSettings
from device.presence_sensor import SensorSettings
from device.samples.settings import SampleSettings
from device.sinks.actuator_settings import GpioSettings
from device.sinks.settings import MqttSettings, SerialSettings, SoundSettings, WebhookSettings
from device.steady_light import LightSettings
from device.store.settings import StoreSettings
from device.web.settings import PageSettings
from smartbin.brightness import BrightnessSettings
from smartbin.config import SmartbinSettings, load_with_origins
from smartbin.engine.options import EngineSettings
from smartbin.runtime import RuntimeName


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceSettings(_Section):
    """Where pictures come from."""

    uri: str = Field(
        default="scene",
        min_length=1,
        description="camera:0, /dev/video0, csi:0, rtsp://…, a file, a folder, scene, test://…",
    )
    width: int | None = Field(default=None, ge=16, le=8192, description="asked of a camera, pixels; default its own")
    height: int | None = Field(default=None, ge=16, le=8192, description="asked of a camera, pixels; default its own")
    fps: float | None = Field(default=None, gt=0, le=240, description="asked of a camera; default its own")
    max_age_s: float = Field(
        default=0.5, gt=0, description="older frames of a live camera are refused, before and after they are judged"
    )
    loop: bool = Field(default=False, description="start a recording over when it ends")
    pace: Literal["auto", "real", "fast"] = Field(
        default="auto", description="a recording plays in its own time or as fast as it can; auto: the scene in its own"
    )
    reconnect: ReconnectSettings = ReconnectSettings()
    camera: CameraSettings = CameraSettings()
    rtsp: RtspSettings = RtspSettings()


class SinkSettings(_Section):
    """Who is told."""

    json_lines: str = Field(
        default="", description='a file that gets one JSON object an event, "-" for stdout, "" for none'
    )
    terminal: Literal["auto", "live", "plain", "off"] = Field(
        default="auto", description="live view, a line a decision, or nothing; auto: live on a terminal, else plain"
    )
    mqtt: MqttSettings = MqttSettings()
    gpio: GpioSettings = GpioSettings()
    serial: SerialSettings = SerialSettings()
    sound: SoundSettings = SoundSettings()
    webhook: WebhookSettings = WebhookSettings()


class RuntimeSettings(_Section):
    """What classifies, and on how much of the machine."""

    bundle: Path | None = Field(
        default=None, description="folder of the model bundle; default the installed one, else the built-in one"
    )
    runtime: RuntimeName = Field(
        default="auto", description="auto, tensorrt, onnxruntime-cuda, onnxruntime-cpu or openvino-cpu"
    )
    threads: int | None = Field(
        default=None, ge=1, le=256, description="CPU threads of one inference; default all cores"
    )
    opencv_threads: int = Field(
        default=1, ge=1, le=64, description="threads of OpenCV: frames are small, more only disturb"
    )
    stall_s: float = Field(
        default=15.0, gt=0, description="end with exit code 6 when the loop stands still for so long"
    )
    max_seconds: float | None = Field(default=None, gt=0, description="stop after so long; default never")


class DeviceConfig(SmartbinSettings):
    """The whole configuration of `smartbin run`."""

    device: DeviceSettings = DeviceSettings()
    source: SourceSettings = SourceSettings()
    brightness: BrightnessSettings | None = Field(default=None, description="default: what the bundle was trained with")
    light: LightSettings = LightSettings()
    presence: PresenceSettings = PresenceSettings()
    sensor: SensorSettings | None = Field(default=None, description="a presence sensor; default none")
    decision: DecisionSettings = DecisionSettings()
    sinks: SinkSettings = SinkSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    engine: EngineSettings = EngineSettings()
    bundles: BundleSettings = BundleSettings()
    fleet: FleetSettings = FleetSettings()
    store: StoreSettings = StoreSettings()
    samples: SampleSettings = SampleSettings()
    page: PageSettings = PageSettings()


def load_config(file: Path | None, overrides: dict[str, object]) -> DeviceConfig:
    """Load the configuration; `ConfigError` names place, key and value of what is wrong in it."""
    return load_config_with_origins(file, overrides)[0]


def load_config_with_origins(file: Path | None, overrides: dict[str, object]) -> tuple[DeviceConfig, dict[str, str]]:
    """The configuration, and where each of its values that is no default came from, by dotted key."""
    return load_with_origins(DeviceConfig, file, overrides)
