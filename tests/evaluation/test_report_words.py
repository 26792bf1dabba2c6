from dataclasses import replace

import pytest

from mrsim.evaluation.report import build_report
from mrsim.evaluation.report.answer import verdict
from mrsim.evaluation.report.biology_figures import slope_ratios
from mrsim.evaluation.report.figures import ladder_rows
from mrsim.evaluation.report.recipe import card_rows
from mrsim.evaluation.report.scores import family_tables
from mrsim.evaluation.report.words import share, significant

from .report_study import bare, make_report


@pytest.fixture(scope="module")
def light():
    return make_report(images=(), mask=None)


def test_answer_names_best_and_last_and_what_they_did(light):
    said = [str(s) for s in verdict(light).sentences]
    assert len(said) == 2
    assert "<strong>nyul</strong> did best" in said[0]
    assert "fixed 47 %, left 15 %, destroyed 5.0 % and invented 6.0 %" in said[0]
    assert "<strong>whitestripe</strong> came last" in said[0]
    assert "FLAIR: the same first and last." in said[0]
    assert "<strong>combat</strong> did best" in said[1]
    assert "restored 2.2 % of lost biology" in said[1]


def parts(fixed, left, destroyed, invented, room):
    names = ("fixed", "left", "destroyed", "invented")
    return {
        n: {"value": v, "low": v - room, "high": v + room}
        for n, v in zip(names, (fixed, left, destroyed, invented), strict=True)
    }


def answered(**methods):
    details = {m: {"kind": "image", "dissection": {"T1w": p}} for m, p in methods.items()}
    return verdict(bare(details=details))


def test_answer_is_not_surer_than_its_intervals():
    close = {"one": parts(0.3, 0.5, 0.02, 0.0, 0.2), "two": parts(0.25, 0.5, 0.02, 0.0, 0.2)}
    assert "does not rank them" in str(answered(**close).sentences[0])
    apart = {"one": parts(0.9, 0.1, 0.02, 0.0, 0.2), "two": parts(0.25, 0.5, 0.02, 0.0, 0.2)}
    assert "does not rank them" not in str(answered(**apart).sentences[0])


def test_answer_calls_harm_harm_and_control_wins_out():
    found = answered(worse=parts(-0.4, 1.2, 0.1, 0.0, 0.01), blur=parts(0.2, 0.6, 0.05, 0.0, 0.01))
    assert "did no net good" in str(found.sentences[0])
    assert "added 40 % of site error" in str(found.sentences[0])
    assert any("blur nets more than worse" in c for c in found.caveats)
    assert not any("No blur control" in c for c in found.caveats)
    alone = answered(good=parts(0.5, 0.3, 0.0, 0.0, 0.01))
    assert any("No blur control" in c for c in alone.caveats)
    broken = answered(identity=parts(0.3, 0.6, 0.0, 0.0, 0.01))
    assert any("it must not" in c for c in broken.caveats)


def test_probe_that_cannot_decide_is_called_blind():
    def probed(null_high):
        probe = {"T1w": {"balanced_accuracy": 0.95, "null_low": 0.0, "null_high": null_high}}
        return verdict(bare(details={"nyul": {"contrasts": ["T1w"], "probe": probe}})).caveats

    assert any("still tells the scanners apart after 1 of 1" in c for c in probed(0.4))
    assert any("decides nothing" in c for c in probed(1.0))


def test_score_marks_best_worst_and_damage_that_wins(light):
    table = next(t for t in family_tables(light, "T1w") if t.title.startswith("Distance"))
    marks = {m: [c.mark for c in cells] for m, _, cells in table.rows}
    assert set(marks["nyul"]) == {"best"}
    assert set(marks["raw"]) == {""}
    scores = light.scores.copy()
    wins = (scores["method"] == "blur") & (scores["metric"] == "nrmse_matched")
    scores.loc[wins, "value"] = 1e-4
    table = next(
        t for t in family_tables(replace(light, scores=scores), "T1w") if t.title.startswith("Distance")
    )
    column = [c.name for c in table.columns].index("nrmse matched")
    assert {m: cells[column].mark for m, _, cells in table.rows}["blur"] == "beats"


def test_no_praise_for_a_low_site_probe(light):
    table = next(t for t in family_tables(light, "T1w") if t.title.startswith("Site probe"))
    assert {c.mark for _, _, cells in table.rows for c in cells} == {""}


def test_sort_keys_put_the_best_first(light):
    table = next(t for t in family_tables(light, "T1w") if t.title == "Detail")
    ratio = {m: (c[0].value, float(c[0].sort)) for m, _, c in table.rows}
    # A target of one: 0.6 is worse than 1.02.
    assert ratio["blur"][1] > ratio["nyul"][1]
    fixed = next(t for t in family_tables(light, "T1w") if t.title.startswith("What"))
    order = sorted(fixed.rows, key=lambda row: float(row[2][0].sort))
    assert order[0][0] == "combat"


def test_slope_ratio_from_slopes_and_as_given():
    rows = [
        {"feature": "a", "slope": -1.0, "low": -3.0, "high": 1.0, "truth": -2.0},
        {"feature": "b", "slope": 9.0, "truth": 9.0, "ratio": 0.7, "low": 0.5, "high": 1.1},
        {"feature": "c", "slope": 1.0, "low": 0.0, "high": 2.0, "truth": 0.0},
    ]
    found = slope_ratios(bare(details={"raw": {"age_slopes": rows}}), "raw", "")
    assert found == {"a": (0.5, -0.5, 1.5), "b": (0.7, 0.5, 1.1)}


def test_ladder_speaks_both_dialects_in_the_published_order():
    given = [
        {"feature": "median", "rung": "across vendors", "cov": 4.0, "ci_low": 3.0, "ci_high": 5.0, "n": 6},
        {"feature": "hippocampus", "rung": "scan-rescan", "cov": 9.0, "ci_low": 3.0, "ci_high": 5.0, "n": 6},
        {"step": "scan-rescan", "cov": 6.0, "low": 0.8, "high": 1.2, "n": 6},
    ]
    data = bare(ladder=given)
    assert [(r["step"], r["cov"]) for r in ladder_rows(data)] == [
        ("scan-rescan", 6.0),
        ("across vendors", 4.0),
    ]
    text = " ".join(build_report(data).split())
    assert "do not keep this order" in text
    assert "Not measured in this study: same vendor, across fields" in text
    assert text.count("outside") == 2


def test_cards_are_told_in_clinical_units(light):
    row = card_rows(light)[0]
    told = {
        k: row[k] for k in ("scanner", "contrast", "tr", "te", "ti", "flip", "voxel", "matrix", "verified")
    }
    assert told == {
        "scanner": "prisma", "contrast": "T1w", "tr": "2000", "te": "2.03", "ti": "880", "flip": "8",
        "voxel": "2 × 2 × 2", "matrix": "128 × 128 × 104", "verified": "1 of 2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (-0.0, "0.00"),
        (0.031, "0.0310"),
        (12.34, "12.3"),
        (-1234.5, "−1234"),
        (1e-7, "1.00e−07"),
    ],
)
def test_numbers_read_well(value, text):
    assert significant(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0 %"), (-1e-6, "0 %"), (0.123, "12 %"), (0.0123, "1.2 %")]
)
def test_shares_read_well(value, text):
    assert share(value) == text
