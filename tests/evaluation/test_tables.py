import json
import math

import numpy as np
import pandas as pd
import pytest

import mrsim.evaluation as ev


def score(metric="ssim", value=0.9, **more):
    return ev.make_score(metric, value, method="identity", contrast="T1w", n=6, **more)


def test_direction_and_unit_come_from_the_vocabulary():
    row = score("volume_bias:hippocampus", -3.0, interval=(-5.0, -1.0))
    assert (row.direction, row.unit, row.ci_low) == ("target", "%", -5.0)
    with pytest.raises(ev.ScoreError, match="metric must be one of"):
        score("beauty")


def test_every_metric_of_the_image_modules_is_in_the_vocabulary(brain):
    image = brain.image((0.2, 0.5, 1.0), noise=0.02, rng=np.random.default_rng(0))
    names = set(ev.image_errors(image, image, brain.mask)) - {"match_slope", "match_intercept", "data_range"}
    names |= set(ev.structure_scores(image, image, brain.mask, (2e-3,) * 3))
    fractions = dict(zip(("csf", "gm", "wm"), brain.fractions, strict=True))
    names |= set(ev.contrast_error(image, image, fractions, brain.mask))
    assert names <= set(ev.METRICS)


def test_table_columns_and_doubles():
    table = ev.scores_table([score(), score("psnr", 25.0)])
    assert list(table.columns) == [
        "method", "contrast", "metric", "value", "ci_low", "ci_high", "n", "direction", "unit"
    ]  # fmt: skip
    assert list(ev.scores_table([]).columns) == list(table.columns)
    with pytest.raises(ev.ScoreError, match="twice"):
        ev.scores_table([score(), score()])


def test_bad_scores_are_refused():
    with pytest.raises(ev.ScoreError, match="ci_low"):
        score(interval=(1.0, 0.5))
    fields = {"method": "m", "contrast": "T1w", "metric": "x", "value": 1.0, "ci_low": 0.0, "ci_high": 2.0}
    with pytest.raises(ev.ScoreError, match="direction must be"):
        ev.Score(**fields, n=3, direction="up", unit="1")
    with pytest.raises(ev.ScoreError, match="target must be given"):
        ev.Metric(direction="target", unit="1", meaning="no target")


def test_written_tables_hold_no_nan_and_come_back(tmp_path):
    table = ev.scores_table([score(), score("psnr", math.inf), score("nrmse", math.nan, interval=(0.1, 0.2))])
    tsv, js = ev.write_table(table, tmp_path / "deep" / "scores", meta={"seed": 3, "bad": math.nan})
    assert sorted(p.name for p in tsv.parent.iterdir()) == ["scores.json", "scores.tsv"]

    def refuse(token):
        raise AssertionError(token)

    body = json.loads(js.read_text(), parse_constant=refuse)
    assert body["meta"] == {"seed": 3, "bad": None}
    assert body["rows"][0]["value"] == 0.9
    assert body["rows"][1]["value"] is None
    back = pd.read_csv(tsv, sep="\t", na_values="n/a", keep_default_na=False)
    assert list(back.columns) == body["columns"]
    assert back["ci_low"].tolist()[2] == 0.1
    assert np.isnan(back["value"].tolist()[2])


def test_writing_twice_gives_the_same_bytes(tmp_path):
    table = ev.scores_table([score(value=1 / 3)])
    first = [p.read_bytes() for p in ev.write_table(table, tmp_path / "s")]
    second = [p.read_bytes() for p in ev.write_table(table, tmp_path / "s")]
    assert first == second
    assert b"0.3333333333333333" in first[0]


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    table = ev.scores_table([score()])
    tsv, _ = ev.write_table(table, tmp_path / "s")
    before = tsv.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        ev.write_table(ev.scores_table([score(value=0.1)]), tmp_path / "s")
    assert tsv.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.json", "s.tsv"]


def test_cells_cannot_break_the_tsv(tmp_path):
    table = pd.DataFrame({"a": ["one\ttwo\nthree"], "b": [None], "c": [np.int64(4)], "d": [np.True_]})
    tsv, _ = ev.write_table(table, tmp_path / "t")
    assert tsv.read_text() == "a\tb\tc\td\none two three\tn/a\t4\tTrue\n"


def test_public_names_are_sorted_and_real():
    # Constants, classes, functions, each in alphabetical order: the linter's own sort.
    kind = {n: 0 if n.isupper() else 1 if n[0].isupper() else 2 for n in ev.__all__}
    assert list(ev.__all__) == sorted(ev.__all__, key=lambda n: (kind[n], n))
    for name in ev.__all__:
        assert getattr(ev, name) is not None
    assert set(ev.__all__) == set(dir(ev))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ev.nothing
