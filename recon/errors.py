"""The one error of a raw data file that cannot be used."""

from __future__ import annotations

__all__ = ["RawDataError"]


class RawDataError(ValueError):
    """A raw data file is damaged, hostile, or lacks something the reconstruction needs.

    The message is one line: the file, the field, what was expected, what was found and the way out.
    """
