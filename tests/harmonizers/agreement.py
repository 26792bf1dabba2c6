"""Every method beside the outputs of the packages that have it: one list, for the tests and for the table.

``python -m tests.harmonizers.agreement`` prints the table; ``> tests/harmonizers/AGREEMENT.md`` stores it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from . import agreement_features, agreement_images

HEAD = """\
# Agreement with reference implementations

Printed by `python -m tests.harmonizers.agreement`; `pytest tests/harmonizers/test_agreement.py` asserts the
same list. Largest absolute difference over samples and features (harmref: values of order 1), in units of a
feature's standard deviation for `variants`, relative for images. harmref: 60 samples, 20 features, 3 sites,
age and sex (the shared reference data). variants: 87 samples of sites of 12, 25 and 50, 14 features on
scales from 1e-3 to 1e4, two numeric covariates and a group of three levels (`data/README.md`). What is
asked is rounding for closed forms, and the reference's own stopping rule elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One method against one output: what `largest` returns must stay below `asked`."""

    method: str
    against: str
    asked: float
    largest: Callable[[], float]
    needs_harmref: bool

    def __str__(self) -> str:
        return f"{self.method} / {self.against}"


def comparisons() -> Iterator[Comparison]:
    """Yield all comparisons, those that need ../shared included."""
    for module in (agreement_features, agreement_images):
        for needed, listed in ((True, module.harmref()), (False, module.stored())):
            for method, against, asked, largest in listed:
                yield Comparison(
                    method=method, against=against, asked=asked, largest=largest, needs_harmref=needed
                )


def main() -> None:
    """Print the table."""
    print(f"{HEAD}\n\n| method | against | largest difference | asked |\n|---|---|---|---|")
    for one in comparisons():
        found = float(np.max(one.largest()))
        print(f"| {one.method} | {one.against} | {found:.1e} | {one.asked:.0e} |", flush=True)


if __name__ == "__main__":
    main()
