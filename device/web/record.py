"""What every answer of the API is made from."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Is as it was made."""

    model_config = ConfigDict(frozen=True)
