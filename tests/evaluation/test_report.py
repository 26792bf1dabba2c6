import base64
import hashlib
import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mrsim.evaluation.report import ReportError, ReportImage, build_report, page, write_report
from mrsim.evaluation.report.pictures import QUALITIES, panels

from .report_study import IMAGE_METHODS, bare, make_report, small_report

VOID = {"meta", "link", "img", "br", "input", "hr"}
ROOT = Path(__file__).parents[2]


class _Page(HTMLParser):
    """Collects what a browser would load, run or trip over."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.ids, self.scripts, self.handlers, self.images, self.open = [], [], [], [], [], []
        self.words, self.policy, self._in_script = [], "", False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.loads += [given[k] for k in ("src", "href", "action", "data", "poster") if k in given]
        self.ids += [given["id"]] if "id" in given else []
        self.handlers += [k for k in given if k.startswith("on")]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if tag == "img":
            self.images.append(given)
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def whole():
    data = make_report()
    return data, build_report(data)


@pytest.fixture(scope="module")
def light():
    return make_report(images=(), mask=None)


def test_page_is_well_formed_and_loads_nothing(whole):
    parsed = _Page(whole[1])
    assert parsed.open == []
    assert all(url.startswith(("data:", "#")) for url in parsed.loads)
    assert len(parsed.images) > 300
    assert all(image["alt"] for image in parsed.images)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {url[1:] for url in parsed.loads if url.startswith("#")} <= set(parsed.ids)
    # Styles and pictures may not fetch either.
    assert not re.search(r"url\(|@import", whole[1].split("</style>")[0])
    for image in parsed.images:
        if image["src"].startswith("data:image/svg"):
            svg = base64.b64decode(image["src"].split(",")[1]).decode()
            assert not re.search(r'href="(?!#|data:)', svg)


def test_policy_allows_only_the_page_s_own_script(whole):
    parsed = _Page(whole[1])
    digest = base64.b64encode(hashlib.sha256(parsed.scripts[0].encode()).digest()).decode()
    assert len(parsed.scripts) == 1
    assert f"script-src 'sha256-{digest}'" in parsed.policy
    assert "default-src 'none'" in parsed.policy
    assert "http" not in parsed.policy


def test_same_data_same_bytes_whatever_the_surroundings():
    import matplotlib as mpl

    small = small_report()
    first = build_report(small)
    with mpl.rc_context({"font.size": 20.0, "svg.hashsalt": "other", "axes.grid": True}):
        assert build_report(small) == first
        assert mpl.rcParams["font.size"] == 20.0
    code = (
        "from tests.evaluation.report_study import small_report; import hashlib;"
        "from mrsim.evaluation.report import build_report;"
        "print(hashlib.sha256(build_report(small_report()).encode()).hexdigest())"
    )
    # Another process has another order of sets.
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == hashlib.sha256(first.encode()).hexdigest()


def test_what_a_user_wrote_stays_text():
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp; $x^2$"
    details = {
        "raw": {"kind": "image", "contrasts": [evil]},
        evil: {
            "kind": "feature",
            "contrasts": [evil],
            "dissection": {evil: {p: {"value": 0.1} for p in ("fixed", "left", "destroyed", "invented")}},
            "embedding": [{"contrast": evil, "subject": evil, "session": evil, "run": 1, "x": 0.0, "y": 1.0}],
            "probe": {evil: {"balanced_accuracy": 0.5, "null_low": 0.1, "null_high": 0.4, "chance": 0.3}},
            "age": [{"feature": evil, "age": 3.0 + i, "measured": 1.0, "truth": i} for i in (0, 1)],
            "age_slopes": [{"feature": evil, "slope": 1.0, "low": 0.0, "high": 2.0, "truth": 1.0}],
        },
    }  # fmt: skip
    volume = np.ones((3, 4, 5), dtype=np.float32)
    data = bare(
        title=evil,
        study={"study": {"description": evil}, "recon": {"combine": evil}, evil: evil},
        scanners={evil: {"vendor": evil, "model": evil, "provenance": {evil: {"source": evil}}}},
        cards={f"{evil}/{evil}": {"name": evil, "provenance": {evil: {"source": evil}}}},
        reference=evil,
        participants=[{"subject": evil, "sex": evil, "age": 1.0, "icv": 2.0}],
        details=details,
        images=[
            ReportImage(method="raw", session=evil, run=1, contrast=evil, data=volume, voxel_size=(1e-3,) * 3)
        ],
        example_subject=evil,
        ladder=[{"step": evil, "cov": 1.0}],
        recipe={evil: evil},
        failures=[{"stage": evil, "key": {evil: evil}, "error": evil}],
    )
    text = build_report(data)
    parsed = _Page(text)
    assert len(parsed.scripts) == 1
    assert parsed.handlers == []
    assert all(url.startswith(("data:", "#")) for url in parsed.loads)
    assert parsed.text.count("alert(1)") > 15
    for image in parsed.images:
        if image["src"].startswith("data:image/svg"):
            assert "<script" not in base64.b64decode(image["src"].split(",")[1]).decode()


def test_nothing_but_a_title_still_makes_a_page():
    parsed = _Page(build_report(bare()))
    assert parsed.open == []
    for words in ("No images", "No scores", "No site probe", "ladder of site effects was not measured"):
        assert words in parsed.text


@pytest.mark.parametrize(
    "key", ["embedding", "probe", "age", "age_slopes", "dissection", "contrasts", "kind"]
)
def test_missing_details_are_said_not_raised(light, key):
    details = {m: {k: v for k, v in d.items() if k != key} for m, d in light.details.items()}
    # One kind of evidence at a time keeps the drawing short.
    kept = {
        m: {k: v for k, v in d.items() if k in ("kind", "contrasts", key)} for m, d in light.details.items()
    }
    partial = kept | {"nyul": details["nyul"] | {"embedding": [], "age": []}}
    text = _Page(build_report(replace(light, details=partial, scores=None))).text
    if key in ("embedding", "probe", "age", "age_slopes", "dissection"):
        assert re.search(r"No [a-z ]+ for: .*nyul", text)


def test_nan_and_none_are_dashes_not_numbers(light):
    details = {
        "raw": {"probe": {"T1w": {"balanced_accuracy": None, "null_low": float("nan")}}},
        "nyul": {"dissection": {"T1w": {"fixed": {"value": float("nan"), "low": None, "high": None}}}},
    }
    scores = light.scores.assign(value=float("nan"), ci_low=float("nan"), ci_high=float("nan"))
    text = _Page(build_report(replace(light, details=details, scores=scores))).text
    assert "nan" not in text.lower().split()
    assert "No harmonizer could be dissected" in text


def test_pictures_give_way_to_size(whole, monkeypatch):
    data, exact = whole
    assert "stored without loss" in exact
    assert len(exact.encode()) < page.TARGET_BYTES
    few = replace(
        data, images=[i for i in data.images if i.method in ("raw", "truth", "blur")], details={}, scores=None
    )
    size = len(build_report(few).encode())
    monkeypatch.setattr(page, "TARGET_BYTES", size // 2)
    assert "compressed with loss" in build_report(few)
    monkeypatch.setattr(page, "TARGET_BYTES", 1)
    last = build_report(few)
    assert "only the axial plane is shown" in last
    assert "data:image/webp" in last
    monkeypatch.setattr(page, "CAP_BYTES", 1)
    dropped = build_report(few)
    assert "data:image/webp" not in dropped
    assert "pictures were left out" in dropped


def decoded(cell):
    from PIL import Image

    content = base64.b64decode(cell.uri.split(",")[1])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def one_scan(data, *, method="raw", session="a", run=1):
    return ReportImage(
        method=method,
        session=session,
        run=run,
        contrast="T1w",
        data=data.astype(np.float32),
        voxel_size=(2e-3, 1e-3, 3e-3),
    )


def shown(images, mask):
    data = bare(scanners={"a": {}, "b": {}}, reference="a", images=images, mask=mask)
    return {(p.plane, p.view): p for p in panels(data, QUALITIES[0])}


def test_pictures_are_neurological_and_lossless(rng):
    volume = rng.uniform(0.0, 0.5, (20, 26, 14))
    # A bright block to the right (high x), front (high y) and top (high z).
    volume[15:, 20:, 10:] = 1.0
    mask = np.ones(volume.shape, dtype=bool)
    found = shown([one_scan(volume)], mask)
    middle = [int(np.round((n - 1) / 2)) for n in volume.shape]
    low, high = np.percentile(volume.astype(np.float32), (1.0, 99.5))
    for plane, axis in (("axial", 2), ("coronal", 1), ("sagittal", 0)):
        picture = decoded(found[plane, "own"].rows[0][1][0])[..., 0]
        slab = np.take(volume, middle[axis], axis=axis).T[::-1]
        expected = np.clip((slab - low) / (high - low), 0.0, 1.0) * 255.0
        # Eight bits: half a grey level, and float32 against float64.
        assert np.abs(picture - expected).max() <= 0.51
    panel = found["axial", "own"]
    # 20 voxels of 2 mm by 26 of 1 mm: the shape is that of the head, not of the array.
    assert (panel.width, panel.height) == (40, 26)


def test_same_window_keeps_gain_and_difference_ignores_it(rng):
    mask = np.zeros((20, 26, 14), dtype=bool)
    mask[4:16, 5:22, 3:11] = True
    truth = rng.uniform(50.0, 100.0, mask.shape)
    scans = [
        one_scan(truth, method="truth", session="truth"),
        one_scan(truth),
        one_scan(3.0 * truth + 40.0, session="b"),
    ]
    found = shown(scans, mask)
    same = dict(found["axial", "same"].rows)["raw"]
    assert decoded(same[1]).mean() > 240 > decoded(same[0]).mean()
    own = dict(found["axial", "own"].rows)["raw"]
    assert np.abs(decoded(own[1]) - decoded(own[0])).max() <= 1
    for cell in dict(found["axial", "difference"].rows)["raw"]:
        # A linear map is no error: white inside the brain up to rounding of float32.
        assert decoded(cell).min() >= 246
        assert cell.note == "rms 0.0 %"


def test_difference_has_the_sign_and_size_that_it_says(rng):
    mask = np.zeros((30, 40, 20), dtype=bool)
    mask[5:25, 5:35, 5:15] = True
    truth = rng.uniform(80.0, 120.0, mask.shape)
    wrong = truth.copy()
    wrong[8:11, 18:22, 8:12] += 20.0
    found = shown([one_scan(truth, method="truth", session="truth"), one_scan(wrong)], mask)
    cell = dict(found["axial", "difference"].rows)["raw"][0]
    picture = decoded(cell)
    box = found["axial", "difference"]
    red = picture[..., 0] - picture[..., 2]
    _, columns = np.nonzero(red > 100)
    # Left of the middle (low x), as displayed.
    assert columns.size
    assert columns.max() < picture.shape[1] / 2
    assert box.columns == (("a", 1),)
    expected = 100.0 * 20.0 * np.sqrt(3 * 4 * 4 / mask.sum()) / 100.0
    # The match takes up a little of it: the block is 1 % of the brain.
    assert float(cell.note.split()[1]) == pytest.approx(expected, rel=0.06)


def test_truth_is_no_method(whole):
    data, text = whole
    assert "truth" not in data.methods
    assert set(IMAGE_METHODS) < set(data.methods)
    assert data.methods[0] == "raw"
    # Seven methods: eight but raw.
    assert "7 methods, 3 controls among them" in _Page(text).text


def test_failures_come_first():
    failures = [{"stage": "scan", "key": {"subject": "02", "session": "ge"}, "error": "out of memory"}]
    text = build_report(bare(failures=failures))
    assert "1 failed cell." in _Page(text).text
    assert "session ge, subject 02" in text
    assert text.index("out of memory") < text.index('id="study"')


def test_data_that_do_not_fit_are_refused():
    scan = one_scan(np.ones((3, 4, 5)))
    with pytest.raises(ReportError, match="one grid"):
        bare(images=[scan], mask=np.ones((3, 4, 6), dtype=bool))
    with pytest.raises(ReportError, match="reference must be one of"):
        bare(scanners={"a": {}}, reference="b")
    with pytest.raises(ReportError, match="metres"):
        replace(scan, voxel_size=(2.0, 2.0, 2.0))
    with pytest.raises(ReportError, match="volume"):
        replace(scan, data=np.ones((3, 4), dtype=np.float32))


def test_write_leaves_one_file_or_none(tmp_path, monkeypatch):
    write_report(tmp_path / "deep" / "report.html", bare())
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["report.html"]
    assert (tmp_path / "deep" / "report.html").read_text("utf-8") == build_report(bare())

    def fail(self, target):
        raise OSError("full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="full"):
        write_report(tmp_path / "report.html", bare())
    assert [p.name for p in tmp_path.iterdir()] == ["deep"]
