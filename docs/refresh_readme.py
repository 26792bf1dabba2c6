"""Renew picture and figures of the README from a finished demo: ``python docs/refresh_readme.py demo``.

Needs Chromium for docs/images/report.png; the figures go between the marks of the README.
"""

import csv
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIZE = (1180, 2300)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--force-device-scale-factor=0.75",
)  # fmt: skip
METHODS = ("raw", "blur", "zscore", "nyul", "whitestripe", "combat")
IMAGE_TERMS = ("fixed", "left", "destroyed", "invented")
MARKS = ("<!-- demo figures -->\n", "<!-- end of demo figures -->")


def photograph(report: Path, target: Path) -> None:
    """Take a picture of the top of the report."""
    browser = (
        shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("Chromium is not installed")
    )
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser,
                *FLAGS,
                f"--user-data-dir={profile}",
                f"--window-size={SIZE[0]},{SIZE[1]}",
                f"--screenshot={target}",
                report.resolve(strict=True).as_uri(),
            ],
            check=True,
            capture_output=True,
        )


def scores(demo: Path) -> dict[tuple[str, str, str], float]:
    """Return every score of a run: (method, contrast, metric) -> value."""
    found = {}
    for path in sorted(demo.glob(".mrsim/cells/evaluate/*/scores.tsv"), key=lambda p: p.stat().st_mtime):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                found[row["method"], row["contrast"], row["metric"]] = float(row["value"])
    return found


def figures(demo: Path) -> str:
    """Markdown table of what happened to the raw error in T1-weighted images and features."""
    found = scores(demo)
    header = ["T1w", *(f"images: {t}" for t in IMAGE_TERMS), *(f"features: {t}" for t in IMAGE_TERMS)]
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    for method in METHODS:
        cells = [method]
        for contrast in ("T1w", "T1w features"):
            values = [found.get((method, contrast, term)) for term in IMAGE_TERMS]
            cells += ["" if v is None else f"{100 * v + 0:.1f} %".replace("-0.0", "0.0") for v in values]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(demo: Path) -> None:
    photograph(demo / "report.html", ROOT / "docs" / "images" / "report.png")
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    between = re.compile(f"({re.escape(MARKS[0])}).*?({re.escape(MARKS[1])})", re.DOTALL)
    if not between.search(text):
        sys.exit("the README has lost its marks")
    readme.write_text(between.sub(lambda m: m[1] + figures(demo) + m[2], text), encoding="utf-8")
    print("renewed README.md and docs/images/report.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
