"""Who this bin is among others: one name for its broker, its metrics and whoever looks after a fleet."""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

_MACHINE_ID = Path("/etc/machine-id")
_PURPOSE = b"smartbin bin name 1"  # machine-id(5): never show the id itself, but a keyed hash of it


class DeviceSettings(BaseModel):
    """Section `[device]` of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_-]{0,64}$",
        description="the bin's name in MQTT topics and metrics: letters, digits, _ and -, its own in the fleet; "
        "default made from the machine's id, in a container better set",
    )

    def resolve_name(self, machine_id: Path = _MACHINE_ID) -> str:
        """The configured name, else one that stays the same as long as the system is not installed anew."""
        return self.name or default_name(machine_id)


def default_name(machine_id: Path = _MACHINE_ID) -> str:
    """`bin-` and eight hexadecimal digits of the machine's id; without one (in containers) from the host's name."""
    try:
        content = machine_id.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        content = ""
    if re.fullmatch(r"[0-9a-f]{32}", content):
        return f"bin-{hmac.new(bytes.fromhex(content), _PURPOSE, hashlib.sha256).hexdigest()[:8]}"
    host = re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname()).strip("-")
    return f"bin-{host[:60]}" if host else "bin"
