"""Photograph the top of a report with headless Chromium: ``python docs/picture.py demo/report.html``.

Writes docs/images/report.png, the picture of the README.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SIZE = (1180, 2300)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--force-device-scale-factor=0.75",
)  # fmt: skip

browser = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("Chromium is not installed")
report = Path(sys.argv[1]).resolve(strict=True)
target = Path(__file__).parent / "images" / "report.png"
target.parent.mkdir(exist_ok=True)
with tempfile.TemporaryDirectory() as profile:
    subprocess.run(
        [
            browser,
            *FLAGS,
            f"--user-data-dir={profile}",
            f"--window-size={SIZE[0]},{SIZE[1]}",
            f"--screenshot={target}",
            report.as_uri(),
        ],
        check=True,
        capture_output=True,
    )
print(f"wrote {target}")
