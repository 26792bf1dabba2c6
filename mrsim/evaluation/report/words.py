"""Numbers and lists as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .data import Answer


def significant(value: float, digits: int = 3) -> str:
    """Return a number with about `digits` significant digits, a true minus sign, and a dash for none."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    size = abs(value)
    if size != 0.0 and not 1e-4 <= size < 1e6:
        text = f"{value:.{digits - 1}e}"
    else:
        whole = 1 if size == 0.0 else math.floor(math.log10(size)) + 1
        text = f"{value:.{min(max(0, digits - whole), digits + 1)}f}"
    if not text.strip("-0."):
        text = text.lstrip("-")
    return text.replace("-", "−")


def trimmed(value: float, digits: int = 3) -> str:
    """Return a number without trailing zeros: `8`, `2.03`."""
    text = significant(value, digits)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def share(value: float) -> str:
    """Return a share as per cent: `12 %`, `0.4 %`."""
    percent = 100.0 * value
    text = f"{percent:.0f}" if abs(percent) >= 9.5 or percent == 0.0 else f"{percent:.1f}"
    return f"{'0' if text in ('-0.0', '0.0', '-0') else text.replace('-', '−')} %"


def share_interval(answer: Answer) -> str:
    """Return a share with its interval, where there is one."""
    if not answer.bounded:
        return share(answer.value)
    low, high = (share(v).removesuffix(" %") for v in (answer.low, answer.high))
    return f"{share(answer.value)} [{low} to {high}]"


def listed(items: Sequence[str]) -> str:
    """Return `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def counted(count: int, noun: str) -> str:
    """Return `1 scan`, `2 scans`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
