"""Base of the tables of a training run's configuration: `recipe`, `augment`, `machine`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the configuration; a field's docstring is the help of its flag."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
