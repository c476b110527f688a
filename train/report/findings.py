"""What a report computes from the files of a run: calibration, coverage, rejection. Written to `report.json`.

`train/report/report.py` shows it and `train/report/compare.py` puts it beside other runs.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from train.report.outputs import OUTPUTS_FILE, RunOutputs, load_outputs
from train.report.rejection import (
    Acceptance,
    Coverage,
    ScoreCatch,
    measure_acceptance,
    measure_catches,
    measure_coverage,
)
from train.report.reliability import Reliability, measure_reliability

FINDINGS_FILE = "report.json"


class Findings(BaseModel):
    """Figures of the validation photos beyond `metrics.json`; `catches` is empty where no outsiders were measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reliability: Reliability
    coverage: Coverage
    acceptance: Acceptance
    catches: list[ScoreCatch]

    def catch(self, score: str) -> ScoreCatch | None:
        """The way of rejecting of this name, if it was measured."""
        return next((entry for entry in self.catches if entry.score == score), None)


def find(outputs: RunOutputs) -> Findings:
    """All figures; needs two or more validation photos."""
    reliability = measure_reliability(outputs.val.outputs)
    temperature = reliability.temperature
    return Findings(
        reliability=reliability,
        coverage=measure_coverage(outputs.val.outputs, temperature),
        acceptance=measure_acceptance(outputs.val, temperature),
        catches=measure_catches(outputs, temperature),
    )


def outputs_if_kept(run: Path) -> RunOutputs | None:
    """The outputs of a run; None for one that was made before they were kept. `CheckpointError` if damaged."""
    return load_outputs(run) if (run / OUTPUTS_FILE).is_file() else None
