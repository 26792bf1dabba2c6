"""What is wrong with an input: one line per problem, naming file, place, cause and remedy."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with an input, told in one line.

    Parameters
    ----------
    file : str
        The file (or folder, or option) at fault.
    place : str
        Line and column, or the key path; may be empty.
    cause : str
        What was expected and what was got.
    remedy : str
        The way out; may be empty.
    """

    file: str
    cause: str
    place: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        """Return ``file: place: cause. remedy`` on one line."""
        head = ": ".join(part for part in (self.file, self.place) if part)
        text = f"{head}: {self.cause}" if head else self.cause
        if self.remedy:
            text = f"{text.rstrip('.')}. {self.remedy}"
        return " ".join(text.split())


class InputError(ValueError):
    """Bad input: refused before any computing, with every problem found.

    Parameters
    ----------
    problems : iterable of Problem
        At least one problem.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def single(cls, *, file: str, cause: str, place: str = "", remedy: str = "") -> "InputError":
        """Make an error of one problem."""
        return cls([Problem(file=file, place=place, cause=cause, remedy=remedy)])


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks most like `name`, or None.

    Case, hyphens and underscores do not count, so ``field_T`` finds ``field_t``.
    """
    folded = {_fold(candidate): candidate for candidate in sorted(known)}
    matches = difflib.get_close_matches(_fold(name), list(folded), n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def did_you_mean(name: str, known: Sequence[str], *, limit: int = 12) -> str:
    """Return the remedy for an unknown name: the nearest known one, or the list of known ones."""
    match = nearest(name, known)
    if match is not None:
        return f"Did you mean {match!r}?"
    if not known:
        return ""
    listed = ", ".join(sorted(known)[:limit])
    return f"Known: {listed}{', ...' if len(known) > limit else ''}"


def shown(value: object, *, limit: int = 60) -> str:
    """Return a value as it may be shown in one line: TOML spelling for booleans, cut when long."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _fold(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "").replace(" ", "")
