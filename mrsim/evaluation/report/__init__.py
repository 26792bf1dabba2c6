"""Self-contained HTML files: what each harmonizer fixed, and what causes the difference of two scanners."""

from .attribution_page import AttributionPage, build_attribution_page, write_attribution_page
from .data import ReportData, ReportError, ReportImage
from .page import build_report, write_report

__all__ = [
    "AttributionPage",
    "ReportData",
    "ReportError",
    "ReportImage",
    "build_attribution_page",
    "build_report",
    "write_attribution_page",
    "write_report",
]
