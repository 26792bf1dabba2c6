"""The page of a study whose patients and controls were seen by one scanner each."""

import base64
import math
import re
from dataclasses import replace

import pytest

from mrsim.evaluation.report import build_report
from mrsim.evaluation.report.answer import verdict
from mrsim.evaluation.report.diagnosis import diagnosis_figure, effects
from mrsim.evaluation.report.page import _left_out

from .report_study import small_report

FOUND = {"raw": 0.77, "nyul": 0.9}


def rows(method):
    """Log ratios of a method: the hippocampus shrinks by 20 %, the cerebellum does not change."""
    true, zero = math.log(0.8), {"diagnosis": "ad", "contrast": "T1w"}
    found = math.log(FOUND[method])
    return [
        zero | {
            "feature": "volume:hippocampus", "planted": math.log(0.77), "planted_d": -4.2,
            "truth": true, "recovered": found,
            "recovered_low": found - 0.1, "recovered_high": found + 0.1, "ratio": found / true,
        },
        zero | {
            "feature": "volume:cerebellum", "planted": 0.0, "planted_d": 0.0, "truth": 0.0, "recovered": 0.05,
            "recovered_low": None, "recovered_high": None, "ratio": None,
        },
    ]  # fmt: skip


@pytest.fixture(scope="module")
def data():
    given = small_report()
    why = {"what": "agreement between scanners", "contrast": "T1w features", "why": "one <scanner> each"}
    details = {m: d | {"diagnosis": rows(m), "left_out": [why]} for m, d in given.details.items()}
    details["nyul"]["left_out"] = [why, why | {"what": "site probe"}]
    people = [
        {"subject": f"0{k}", "age": 70.0, "sex": "F", "icv": 1500.0, "diagnosis": ("control", "ad")[k % 2],
         "site": ("prisma", "avanto")[k % 2], "lesions": 1.5 * k}
        for k in range(1, 5)
    ]  # fmt: skip
    cohort = {**given.study["cohort"], "design": {"kind": "confounded", "diagnosis": 0.6}}
    study = {**given.study, "cohort": cohort}
    return replace(given, details=details, participants=people, study=study)


@pytest.fixture(scope="module")
def page(data):
    return build_report(data)


def text_of(page):
    """Words of a page without its markup."""
    plain = re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]+>", " ", page, flags=re.DOTALL)
    return " ".join(plain.split())


def test_header_tells_what_is_left_of_the_diagnosis(data):
    said = str(verdict(data).sentences[-1])
    assert "Alzheimer&#39;s disease, hippocampus" in said or "Alzheimer's disease, hippocampus" in said
    assert "by <strong>−20 %</strong>; the raw scans show −23 %, after harmonization nyul −10 %." in said
    assert any("design: confounded" in caveat for caveat in verdict(data).caveats)


def test_effects_are_differences_in_per_cent(data):
    found = effects(data, "nyul", "T1w")
    assert found["ad", "volume:hippocampus"].truth == pytest.approx(-20.0)
    assert found["ad", "volume:hippocampus"].low == pytest.approx(100 * (0.9 * math.exp(-0.1) - 1))
    assert math.isnan(found["ad", "volume:cerebellum"].low)
    assert effects(data, "nyul", "T2w") == {}


def test_figure_has_a_panel_per_method(data):
    svg = base64.b64decode(diagnosis_figure(data, "T1w").split(",", 1)[1]).decode()
    for word in ("raw", "nyul", "hippocampus", "cerebellum", "head size"):
        assert f"<!-- {word}" in svg or word in svg, word
    assert diagnosis_figure(data, "FLAIR") is None


def test_page_does_not_speak_of_travelers(page):
    text = text_of(page)
    assert "under every scanner: one row" not in text
    assert "on the one scanner that saw this person" in text
    assert "every subject was scanned on one of 4 scanners (design: confounded)" in text
    assert "Patients and controls, recovered" in text
    # Two people on prisma, which scans twice, two on avanto, in one contrast.
    assert "6 scans planned" in text
    assert "subject age [years] sex intracranial volume [mL] diagnosis scanner lesions [mL]" in text
    assert "04 70.0 F 1500 control prisma 6.0" in text


def test_what_is_left_out_is_told_once_with_its_methods(data, page):
    assert [(what, methods) for what, _, methods, _ in _left_out(data)] == [
        ("agreement between scanners", "all"),
        ("site probe", "nyul"),
    ]
    assert "one &lt;scanner&gt; each" in page


def test_travelers_keep_their_page():
    text = text_of(build_report(small_report()))
    assert "under every scanner: one row" in text
    assert "every subject was scanned on 4 scanners" in text
    assert "Patients and controls" not in text
    assert "Left out, and why" not in text
