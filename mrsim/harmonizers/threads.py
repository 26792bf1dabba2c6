"""One BLAS thread for products that are too thin to share.

A block of features times a handful of columns takes microseconds; the threads that OpenBLAS wakes for it wait
for each other longer than they work, and burn processor time while they wait.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS uses one thread; afterwards it has as many as before."""
    limited: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limited


@cache
def _controller() -> Any:
    # Finding the loaded libraries takes a millisecond, so it is done once; numpy's is loaded by now.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
