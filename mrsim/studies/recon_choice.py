"""From a scanner's habits and a study's wishes to the options of the reconstruction."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protocols import Scanner
    from recon import ReconOptions, Window

_PARTIAL = {"zero_fill": "zero", "homodyne": "homodyne", "pocs": "pocs"}


def recon_options(scanner: "Scanner", wishes: Mapping[str, Any]) -> "ReconOptions":
    """Options of the reconstruction that a scanner makes, unless the study says otherwise.

    Parameters
    ----------
    scanner : Scanner
        Its reconstruction chain holds the vendor's habits.
    wishes : mapping
        ``combine``, ``acceleration``, ``partial_fourier``, ``intensity_correction``,
        ``distortion_correction``; the word "native" keeps the habit.

    Notes
    -----
    Images stay floats on the receiver's scale: integer scaling of a product image is a matter of storage,
    and its per-series factor is drawn as receiver gain. Zero filling keeps the acquired grid here, since
    analysis resamples anyway.
    """
    from recon import ReconOptions

    chain = scanner.recon

    def wished(name: str, habit: str) -> str:
        value = str(wishes.get(name, "native"))
        return habit if value == "native" else value

    return ReconOptions(
        combine=wished("combine", chain.combine),
        acceleration=wished("acceleration", "auto"),
        partial_fourier=wished("partial_fourier", _PARTIAL[chain.partial_fourier]),
        intensity_correction=wished("intensity_correction", chain.intensity_correction),
        window=_window(scanner),
        distortion_correction=wished("distortion_correction", chain.distortion_correction),
    )


def _window(scanner: "Scanner") -> "Window":
    from recon import Window

    chain = scanner.recon
    if chain.window == "fermi":
        return Window(kind="fermi", radius=chain.window_radius, width=chain.window_width)
    if chain.window == "tukey":
        return Window(kind="tukey", alpha=chain.window_width)
    return Window(kind=chain.window)
