"""The page of an attribution: what it says must be what the numbers are."""

import re
from itertools import combinations

import numpy as np
import pytest

from mrsim.evaluation.attribution import Game, attribute
from mrsim.evaluation.report import AttributionPage, build_attribution_page, write_attribution_page
from mrsim.evaluation.report.attribution_words import answer, caveats

PLAYERS = ("protocol", "reconstruction", "noise", "gain")
WORDS = {"protocol": "the protocol", "reconstruction": "the reconstruction", "noise": "thermal noise"}
MEASURES = (
    ("nmse:wm", "1", "image", "squared difference"),
    ("nmse:raw", "1", "image", "squared difference, raw"),
    ("volume:gm", "%", "feature", "grey matter"),
)
WORTH = {"protocol": 0.030, "reconstruction": 0.008, "noise": 0.0015, "gain": 0.0005}


def worth(coalition):
    base = sum(WORTH[p] for p in coalition)
    together = 0.004 if {"protocol", "reconstruction"} <= coalition else 0.0
    return [base + together, 2 * base, -3.0 * ("protocol" in coalition)]


def page(orders=(), **changes):
    subsets = [frozenset(c) for n in range(5) for c in combinations(PLAYERS, n)]
    found = attribute(Game(players=PLAYERS, orders=orders), {c: worth(c) for c in subsets})
    shape = (12, 15, 11)
    mask = np.zeros(shape, bool)
    mask[2:10, 3:12, 2:9] = True
    image = np.where(mask, np.random.default_rng(1).uniform(0.4, 1.1, shape), 0.0)
    record = {"manufacturer": "Maker", "model": "M", "field": {"f0": 123.2e6}}
    card = {
        "name": "card <1>",
        "timing": {"tr": 2.0, "te": 0.003, "ti": None},
        "geometry": {"matrix": [8, 8, 6]},
    }
    given = {
        "title": "A & B", "reference": "a", "other": "b", "contrast": "T1w", "subject": "01",
        "voxel_size": 4e-3, "scanners": {"a": record, "b": record}, "cards": {"a": card, "b": card},
        "words": WORDS, "idle": ("spikes",), "off": ("rf_spoiling",), "measures": MEASURES, "found": found,
        "coalitions": 16, "scans": 20, "seed": 7, "mask": mask, "reference_image": image,
        "other_image": image * 1.1, "differences": {n: 0.1 * image for n in ("", *PLAYERS)},
    }  # fmt: skip
    return AttributionPage(**(given | changes))


SAMPLED = ((0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1, 3, 0, 2))


def test_the_answer_names_the_causes_in_their_order():
    first, raw, features = answer(page())
    # 0.044 in all; the joint 0.004 is shared evenly: 32, 10, 1.5, 0.5 thousandths.
    assert "by 21 %" in first
    assert "73 % comes from the protocol" in first
    assert "23 % from the reconstruction" in first
    assert "3.4 % from thermal noise" in first
    assert "the one other cause explains 1.1 %" in first
    assert "own units the difference is 28 %" in raw
    assert "volume of gm −3.0 %: protocol −3.0" in features


def test_caveats_tell_error_and_interaction():
    exact = " ".join(caveats(page()))
    assert "exact: all 16 sets" in exact
    assert "add up to 91 % of the whole; 9.1 % is interaction" in exact
    assert "exactly 0: spikes" in exact
    assert "as the study asks: rf spoiling" in exact
    sampled = " ".join(caveats(page(SAMPLED)))
    assert "4 orders in 2 antithetic pairs" in sampled


def test_sampled_shares_have_intervals():
    assert re.search(r"73 % \[\d+ to \d+\] comes from the protocol", answer(page(SAMPLED))[0])


@pytest.mark.parametrize("orders", [(), SAMPLED])
def test_the_page_stands_alone_and_escapes(orders):
    html = build_attribution_page(page(orders))
    assert "A &amp; B" in html
    assert "card &lt;1&gt;" in html
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", html)
    assert html.count("image/svg+xml") == 2
    assert html.count("image/webp") == 3 * (2 + 1 + len(PLAYERS))
    assert html == build_attribution_page(page(orders))


def test_a_page_without_features_or_differences():
    images = page(measures=(("nrmse:wm", "1", "image", "m"), *MEASURES[1:]))
    assert "nrmse:wm" in build_attribution_page(images)
    subsets = [frozenset(c) for n in range(5) for c in combinations(PLAYERS, n)]
    nothing = attribute(Game(players=PLAYERS), {c: [0.0, 0.0, 0.0] for c in subsets})
    html = build_attribution_page(page(found=nothing))
    assert "no cause alone" in html


def test_the_file_is_written_whole(tmp_path):
    write_attribution_page(tmp_path / "report.html", page())
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
