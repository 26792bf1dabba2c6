"""One self-contained HTML file that tells what each harmonizer fixed, left, destroyed and invented."""

from .data import ReportData, ReportError, ReportImage
from .page import build_report, write_report

__all__ = ["ReportData", "ReportError", "ReportImage", "build_report", "write_report"]
