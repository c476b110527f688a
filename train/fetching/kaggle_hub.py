"""Kaggle, through its own library: a seam of two methods, so that everything else can be tested without Kaggle.

kagglehub is an optional dependency (extra `data`) and imported when used. It downloads into a cache of its own
(`KAGGLEHUB_CACHE`, else `~/.cache/kagglehub`), continues there, checks Kaggle's MD5, unpacks, and returns the folder.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Protocol

from smartbin.errors import DataError
from train.fetching.download import network_reason

_CREDENTIALS = (
    "public data sets need no account; if Kaggle asks for one, make a token at https://www.kaggle.com/settings/api and "
    "set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, or keep it in ~/.kaggle. Or do without Kaggle: "
    "--source trashnet"
)


class KaggleClient(Protocol):
    """What is wanted of Kaggle."""

    def available(self) -> bool:
        """Whether it can be asked at all."""

    def download(self, handle: str) -> Path:
        """The folder with the files of a data set, `owner/name/versions/n`; `DataError` if it cannot be had."""


class KaggleHub:
    """The real one."""

    def available(self) -> bool:
        """Whether kagglehub is installed."""
        return importlib.util.find_spec("kagglehub") is not None

    def download(self, handle: str) -> Path:
        """Download through kagglehub, which shows its own progress bar."""
        try:
            import kagglehub
            from kagglehub import exceptions
        except ImportError as error:
            raise DataError(
                "kagglehub is not installed", found=error, fix="pip install 'smartbin[data]', or --source trashnet"
            ) from error
        named = ("CredentialError", "UnauthenticatedError", "BackendError", "NotFoundError", "DataCorruptionError")
        faults = [getattr(exceptions, name) for name in named if hasattr(exceptions, name)]
        try:
            return Path(kagglehub.dataset_download(handle))
        except (OSError, ValueError, *faults) as error:  # requests' errors are OSErrors
            found = network_reason(error)
            raise DataError("Kaggle does not give the data set", where=handle, found=found, fix=_CREDENTIALS) from error
