"""The answer of an attribution in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .words import listed, share, significant

if TYPE_CHECKING:
    from .attribution_page import AttributionPage

_SMALL = 0.02
"""Share below which a cause is not named on its own."""
_MOST = 5
_KEY_FEATURES = ("volume:gm", "volume:wm", "volume:csf", "ratio:gm/wm", "boundary_width")


def answer(page: AttributionPage) -> list[str]:
    """Return the sentences at the top of the page."""
    return [text for text in (_images(page), _scale(page), *_features(page)) if text]


def _images(page: AttributionPage) -> str:
    m = page.index("nmse:wm")
    if m is None or page.found.total[m] == 0.0:
        return ""
    size = 100.0 * float(np.sqrt(page.found.total[m]))
    return (
        f"The {page.contrast} image of {page.other} differs from that of {page.reference} by "
        f"{significant(size, 2)} % (root mean square inside the brain, each image divided by its "
        f"white-matter median). {_parts(page, m)}"
    )


def _parts(page: AttributionPage, m: int) -> str:
    """Return how much of a measure each cause explains, largest first."""
    shares = page.found.share[:, m]
    order = np.argsort(-np.abs(shares), kind="stable")
    large = [int(i) for i in order if abs(shares[i]) >= _SMALL][:_MOST]
    if not large:
        return "No cause stands out."
    verbs = ["comes from", *["from"] * len(large)]
    named = [
        f"{_with_interval(page, i, m)} {verb} {_cause(page, i)}"
        for i, verb in zip(large, verbs, strict=False)
    ]
    rest = float(shares.sum() - shares[large].sum())
    others = len(shares) - len(large)
    tail = ""
    if others == 1:
        tail = f"; the one other cause explains {share(rest)}"
    elif others:
        tail = f"; the {others} other causes together explain {share(rest)}"
    return f"Of the squared difference, {listed(named)}{tail}."


def _cause(page: AttributionPage, i: int) -> str:
    """Return a cause in words."""
    name = page.found.players[i]
    return page.words.get(name, name.replace("_", " "))


def _with_interval(page: AttributionPage, i: int, m: int) -> str:
    """Return a share, with its interval where it was sampled."""
    found = page.found
    value = share(float(found.share[i, m]))
    if found.exact:
        return value
    ends = sorted(float(e[i, m] / found.total[m]) for e in (found.low, found.high))
    return f"{value} [{' to '.join(share(e).removesuffix(' %') for e in ends)}]"


def _scale(page: AttributionPage) -> str:
    """Return what the raw units add."""
    m = page.index("nmse:raw")
    if m is None or page.found.total[m] == 0.0:
        return ""
    size = 100.0 * float(np.sqrt(page.found.total[m]))
    return f"In the scanners' own units the difference is {significant(size, 2)} %. {_parts(page, m)}"


def _features(page: AttributionPage) -> list[str]:
    said = []
    for name in _KEY_FEATURES:
        m = page.index(name)
        if m is None:
            continue
        values = page.found.shapley[:, m]
        order = np.argsort(-np.abs(values), kind="stable")[:3]
        parts = [
            f"{page.found.players[i].replace('_', ' ')} {_signed(values[i])}" for i in order if values[i]
        ]
        said.append(f"{_feature(name)} {_signed(page.found.total[m])} %: {', '.join(parts)}")
    if not said:
        return []
    return [f"Features of {page.other} against {page.reference} (largest causes): {'; '.join(said)}."]


def _feature(name: str) -> str:
    return {"volume": "volume of ", "ratio": "contrast "}.get(name.partition(":")[0], "") + name.rpartition(
        ":"
    )[2].replace("_", " ")


def _signed(value: float) -> str:
    text = significant(float(value), 2)
    return text if value < 0 else f"+{text}"


def caveats(page: AttributionPage) -> list[str]:
    """Return what must be known to read the numbers."""
    said = [_sampling(page), _interaction(page)]
    if page.idle:
        said.append(f"Without effect between these two scanners, so exactly 0: {_names(page.idle)}.")
    if page.off:
        said.append(f"Left off on both scanners, as the study asks: {_names(page.off)}.")
    said.append(
        "All draws (visits, noise) are held fixed: these are the causes of the difference between these two "
        "scans, not of the average difference between the two scanners."
    )
    return [text for text in said if text]


def _names(causes: tuple[str, ...]) -> str:
    return listed([name.replace("_", " ") for name in causes])


def _sampling(page: AttributionPage) -> str:
    found, m = page.found, page.headline
    if found.exact:
        return f"Shapley values are exact: all {page.coalitions} sets of causes were simulated."
    if found.total[m] == 0.0:
        return ""
    worst = float(np.max(np.abs(found.standard_error[:, m] / found.total[m])))
    target = 0.01
    text = (
        f"Shapley values are sampled ({2 * found.pairs} orders in {found.pairs} antithetic pairs); their "
        f"largest standard error is {share(worst)} of the whole"
    )
    if worst <= target:
        return f"{text}, below {share(target)}."
    return f"{text}. About {2 * int(found.pairs_for(target)[m])} orders would bring it to {share(target)}."


def _interaction(page: AttributionPage) -> str:
    found, m = page.found, page.headline
    if found.total[m] == 0.0:
        return ""
    part = float(found.interaction[m] / found.total[m])
    return (
        f"Taken one at a time, the causes add up to {share(1.0 - part)} of the whole; "
        f"{share(part)} is interaction, which Shapley values share out."
    )
