"""Puts `train/cloud/aws_instance.sh` into `train/cloud/cloudformation.yaml`, which has to be one file.

    python tools/embed_user_data.py

Run it after every change of the script; a test compares the two.
"""

from __future__ import annotations

from pathlib import Path

CLOUD = Path(__file__).resolve().parent.parent / "train" / "cloud"
SCRIPT, TEMPLATE = CLOUD / "aws_instance.sh", CLOUD / "cloudformation.yaml"
_MARK = "- | # train/cloud/aws_instance.sh"


def embedded(template: str, script: str) -> str:
    """The template with the block below its mark replaced by the script, indented as YAML wants it."""
    lines = template.splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip().startswith(_MARK))
    indent = len(lines[start]) - len(lines[start].lstrip()) + 2
    end = start + 1
    while end < len(lines) and (not lines[end].strip() or lines[end].startswith(" " * indent)):
        end += 1
    block = [(" " * indent + line).rstrip() for line in script.splitlines()]
    return "\n".join([*lines[: start + 1], *block, "", *lines[end:]]) + "\n"


if __name__ == "__main__":
    TEMPLATE.write_text(
        embedded(TEMPLATE.read_text(encoding="utf-8"), SCRIPT.read_text(encoding="utf-8")), encoding="utf-8"
    )
