"""What the packages promise by name, and what importing them must not cost."""

import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = [
    "mrsim.evaluation",
    "mrsim.harmonizers",
    "mrsim.simulation",
    "mrsim.studies",
    "phantoms",
    "protocols",
    "recon",
]
# Each costs 0.2 to 4 CPU-s to import; `mrsim --help` needs none of them.
HEAVY = {
    "finufft", "h5py", "ismrmrd", "matplotlib", "nibabel", "numba", "numpy", "pandas", "pydantic", "pypulseq",
    "scipy", "sigpy", "sklearn", "torch",
}  # fmt: skip
# More than half a CPU-s each: not even the package that uses them imports them at its root.
VERY_HEAVY = {"matplotlib", "pypulseq", "sigpy", "sklearn", "torch"}


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, each alphabetical: the order ruff keeps in ``__all__``."""
    kind = 0 if re.fullmatch(r"[A-Z0-9_]+", name) else 1 if name[0].isupper() else 2
    return kind, name


def submodules(package: str) -> set[str]:
    return {module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)}


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_sorted_and_equals_the_public_attributes(package: str) -> None:
    module = importlib.import_module(package)
    assert list(module.__all__) == sorted(set(module.__all__), key=order)
    for name in module.__all__:
        getattr(module, name)
    public = {name for name in dir(module) if not name.startswith("_")}
    assert public - submodules(package) == set(module.__all__) - submodules(package)


@pytest.mark.parametrize("package", PACKAGES)
def test_everything_public_says_what_it_is(package: str) -> None:
    module = importlib.import_module(package)
    silent = [
        name
        for name in module.__all__
        if callable(getattr(module, name)) and not getattr(module, name).__doc__
    ]
    assert silent == []


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = importlib.import_module(package).no_such_name


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after some code."""
    last = "; import json, sys; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    run = subprocess.run(
        [sys.executable, "-c", code + last],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    return set(json.loads(run.stdout.splitlines()[-1]))


HELP = "import sys; from mrsim.cli import main; sys.argv[1:] = {!r}\ntry: main()\nexcept SystemExit: pass\n0"


@pytest.mark.parametrize(
    "code",
    [
        "import mrsim",
        "import mrsim.cli",
        HELP.format(["--help"]),
        HELP.format(["--version"]),
        HELP.format([]),
    ],
    ids=["import mrsim", "import mrsim.cli", "mrsim --help", "mrsim --version", "mrsim"],
)
def test_the_command_line_starts_without_heavy_packages(code: str) -> None:
    assert modules_after(code) & HEAVY == set()


@pytest.mark.parametrize("verb", ["run", "simulate", "recon", "harmonize", "list"])
def test_the_help_of_a_verb_needs_no_heavy_package_either(verb: str) -> None:
    # pydantic describes the problems that a verb may report (0.1 CPU-s).
    assert modules_after(HELP.format([verb, "--help"])) & HEAVY <= {"pydantic"}


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_leaves_the_slowest_packages_alone(package: str) -> None:
    assert modules_after(f"import {package}") & VERY_HEAVY == set()


def test_the_version_has_one_value() -> None:
    import mrsim

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert mrsim.__version__ == declared == version("mrsim")
    assert f"version: {declared}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## [{declared}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
