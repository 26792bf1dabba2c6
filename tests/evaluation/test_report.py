from html.parser import HTMLParser

import pytest

from mrsim.evaluation.report import build_report

from .report_study import make_report


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.loads, self.ids = [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.loads += [given[k] for k in ("src", "href") if k in given and not given[k].startswith("#")]
        self.ids += [given["id"]] if "id" in given else []


@pytest.fixture(scope="module")
def page():
    return build_report(make_report())


def test_page_loads_nothing(page):
    parsed = _Page()
    parsed.feed(page)
    assert parsed.loads
    assert all(url.startswith("data:") for url in parsed.loads)
