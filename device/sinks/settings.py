"""Sections `[sinks.*]` of the configuration. The sinks that move flaps are in `actuator_settings`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class SinkSection(BaseModel):
    """Base of the sections: off unless it is said otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=False, description="whether this sink is told")


class MqttSettings(SinkSection):
    """Section `[sinks.mqtt]`: a broker."""

    host: str = Field(default="localhost", min_length=1, description="the broker")
    port: int | None = Field(default=None, ge=1, le=65535, description="default 1883, with TLS 8883")
    user: str = Field(default="", description='"" for none')
    password: SecretStr = Field(
        default=SecretStr(""), description="best by the environment, SMARTBIN_SINKS__MQTT__PASSWORD, or by file"
    )
    password_file: Path | None = Field(default=None, description="its first line is the password")
    tls: bool = Field(default=False, description="encrypt, and verify the broker's certificate")
    ca_file: Path | None = Field(default=None, description="who has signed that; default the system's authorities")
    client_cert: Path | None = Field(default=None, description="this bin's own certificate, where the broker wants one")
    client_key: Path | None = Field(default=None, description="the key of that certificate")
    topic_prefix: str = Field(
        default="smartbin", pattern=r"^[^#+\s\x00/]+(/[^#+\s\x00/]+)*$", description="topics are PREFIX/NAME/…"
    )
    discovery: bool = Field(default=True, description="let Home Assistant find the bin")
    discovery_prefix: str = Field(
        default="homeassistant", pattern=r"^[^#+\s\x00/]+(/[^#+\s\x00/]+)*$", description="where it looks for devices"
    )
    state_every_s: float = Field(default=60.0, ge=1, description="say the state again after so long without news")
    keepalive_s: int = Field(default=30, ge=5, le=3600, description="a broker that hangs is noticed within twice this")
    buffer_file: Path | None = Field(
        default=None, description="events until the broker has them; default ~/.local/share/smartbin/mqtt-NAME.db"
    )
    buffer_events: int = Field(default=10_000, ge=1, le=1_000_000, description="the oldest make room beyond so many")
    first_s: float = Field(default=0.5, gt=0, description="pause before connecting again; it doubles with each try …")
    cap_s: float = Field(default=60.0, gt=0, description="… up to this; each is shortened at random by up to a half")
    flush_s: float = Field(default=3.0, ge=0, description="time to send what waits, when the daemon ends")

    @model_validator(mode="after")
    def _check(self) -> MqttSettings:
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("client_cert and client_key go together")
        if not self.tls and (self.ca_file or self.client_cert):
            raise ValueError("ca_file and client_cert need tls = true")
        return self

    @property
    def resolved_port(self) -> int:
        """The configured port, else the protocol's."""
        return self.port or (8883 if self.tls else 1883)


class SerialSettings(SinkSection):
    """Section `[sinks.serial]`: a microcontroller that moves the flaps, one line of text a decision."""

    port: str = Field(default="/dev/ttyACM0", min_length=1, description="device, better by /dev/serial/by-id/…")
    baud: int = Field(default=115_200, ge=300, le=4_000_000, description="bits a second")
    ready_s: float = Field(default=2.5, ge=0, description="an Arduino restarts when its port is opened: wait for READY")
    reply_s: float = Field(default=1.0, gt=0, description="how long to wait for OK")
    ping_s: float = Field(default=5.0, gt=0, description="ask so often whether it is still there")
    max_age_s: float = Field(default=3.0, gt=0, description="a decision that is older opens nothing any more")
    first_s: float = Field(default=0.5, gt=0, description="pause before opening the port again; it doubles …")
    cap_s: float = Field(default=10.0, gt=0, description="… up to this")


class WebhookSettings(SinkSection):
    """Section `[sinks.webhook]`: a web server that every event is posted to."""

    url: str = Field(default="", pattern=r"^(https?://\S+)?$", description="http:// or https://")
    events: Literal["decisions", "all"] = Field(default="decisions", description="all: also changes of the bin's state")
    secret: SecretStr = Field(
        default=SecretStr(""), description="signs each request; best SMARTBIN_SINKS__WEBHOOK__SECRET, or by file"
    )
    secret_file: Path | None = Field(default=None, description="its first line is the secret")
    timeout_s: float = Field(default=5.0, gt=0, le=60, description="for connecting and for each part of the answer")
    queue: int = Field(default=256, ge=1, le=100_000, description="events that wait; the oldest make room beyond it")
    attempts: int = Field(default=10, ge=1, description="tries an event, then it is dropped and counted")
    first_s: float = Field(default=1.0, gt=0, description="pause after a failed try; it doubles with each …")
    cap_s: float = Field(default=60.0, gt=0, description="… up to this; Retry-After is honoured up to it")
    flush_s: float = Field(default=2.0, ge=0, description="time to send what waits, when the daemon ends")

    @model_validator(mode="after")
    def _check(self) -> WebhookSettings:
        if self.enabled and not self.url:
            raise ValueError("url is missing")
        return self


class SoundSettings(SinkSection):
    """Section `[sinks.sound]`: a command a decision, such as one that plays a sound."""

    accepted: tuple[str, ...] = Field(default=(), description="program and arguments; {label} and {bin} are filled in")
    unsure: tuple[str, ...] = Field(default=(), description="the same, where the bin does not know")
    timeout_s: float = Field(default=5.0, gt=0, le=60, description="a command that takes longer is ended")
