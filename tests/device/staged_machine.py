"""A machine made of answers, for what looks at machines: a laptop, a Jetson, or whatever a test says."""

from __future__ import annotations

from dataclasses import dataclass, field

FULL_BUILD = "  GStreamer:      YES (1.20.3)\n  FFMPEG:   YES\n  v4l/v4l2:   YES (linux/videodev2.h)\n"
PIP_BUILD = FULL_BUILD.replace("YES (1.20.3)", "NO")


@dataclass
class StagedMachine:
    """A machine made of answers; by default a laptop with a webcam."""

    files: dict = field(default_factory=dict)
    devices: list = field(default_factory=lambda: ["/dev/video0"])
    allowed: bool = True
    commands: dict = field(default_factory=dict)
    modules: dict = field(default_factory=lambda: {"numpy": "2.1.0", "cv2": "4.10.0", "onnxruntime": "1.20.0"})
    build: str = PIP_BUILD
    providers: list = field(default_factory=lambda: ["CPUExecutionProvider"])
    python: tuple = ("3.11.7", "x86_64", "ada")

    def read(self, path):
        return self.files.get(path)

    def matching(self, pattern):
        return self.devices

    def may_use(self, path):
        return self.allowed

    def run(self, *command):
        return self.commands.get(command[0])

    def version_of(self, module):
        return self.modules.get(module)

    def opencv_build(self):
        return self.build

    def onnx_providers(self):
        return self.providers

    def facts(self):
        return self.python

    def terminal(self):
        return False


def jetson(**changes) -> StagedMachine:
    """A Jetson Orin with everything."""
    fields = {
        "files": {
            "/etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic",
            "/proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        },
        "commands": {"dpkg-query": "6.2+b77", "nvpmodel": "NV Power Mode: MAXN_SUPER\n2\n"},
        "modules": {"numpy": "1.26.4", "cv2": "4.8.0", "onnxruntime": "1.19.0", "tensorrt": "10.3.0"},
        "build": FULL_BUILD,
        "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"],
        "python": ("3.10.12", "aarch64", "bin"),
    }
    return StagedMachine(**{**fields, **changes})
