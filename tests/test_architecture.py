"""The import contracts hold, and each of them is seen to break on one wrong import."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("mrsim", "phantoms", "protocols", "recon")
WITHOUT_COMPILED = shutil.ignore_patterns("__pycache__", "*.h5")

LAYERS = "mrsim stands on recon, protocols and phantoms, which do not know each other"
INSIDE = "inside mrsim: cli, then studies, then the three stages"
CRIME = "the simulator never imports the reconstruction (inverse crime)"
BLIND = "harmonizers and evaluation see images, tables and labels only"

# contract -> (module that gets one more line, that line)
WRONG_IMPORTS = {
    LAYERS: [
        ("recon/raw.py", "from protocols import Sequence"),
        ("phantoms/anatomy/head.py", "def later():\n    import mrsim.evaluation"),
    ],
    INSIDE: [
        ("mrsim/studies/plan.py", "from mrsim.cli import main"),
        ("mrsim/evaluation/tables.py", "from mrsim.harmonizers import ComBat"),
    ],
    CRIME: [("mrsim/simulation/noise.py", "from recon import reconstruct")],
    BLIND: [
        ("mrsim/harmonizers/features/combat.py", "from phantoms import Phantom"),
        ("mrsim/evaluation/regions.py", "from recon import Image"),
    ],
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of a source tree, whatever is installed."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def verdicts(output: str) -> dict[str, str]:
    """Contract name -> KEPT or BROKEN."""
    lines = (line.rpartition(" ") for line in output.splitlines())
    return {name: word for name, _, word in lines if word in {"KEPT", "BROKEN"}}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=WITHOUT_COMPILED)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_the_contracts_are_the_four_rules() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    assert tuple(config["root_packages"]) == PACKAGES
    assert [contract["name"] for contract in config["contracts"]] == list(WRONG_IMPORTS)
    assert not any("ignore_imports" in contract for contract in config["contracts"])


def test_contracts_are_kept(copy: Path) -> None:
    run = lint(copy)
    assert run.returncode == 0, run.stdout + run.stderr
    assert verdicts(run.stdout) == dict.fromkeys(WRONG_IMPORTS, "KEPT")


@pytest.mark.parametrize(
    ("contract", "module", "line"),
    [(contract, *wrong) for contract, wrongs in WRONG_IMPORTS.items() for wrong in wrongs],
)
def test_one_wrong_import_breaks_its_contract(copy: Path, contract: str, module: str, line: str) -> None:
    path = copy / module
    original = path.read_text(encoding="utf-8")
    path.write_text(f"{original}\n{line}\n", encoding="utf-8")
    try:
        run = lint(copy)
    finally:
        path.write_text(original, encoding="utf-8")
    assert run.returncode == 1, run.stdout + run.stderr
    assert verdicts(run.stdout)[contract] == "BROKEN"


def absolute_imports(path: Path) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_other_packages_are_imported_from_their_root_only(package: str) -> None:
    """So that a package can change inside, or move, without its users."""
    deep = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in absolute_imports(path)
        if "." in name and name.split(".")[0] in set(PACKAGES) - {package}
    }
    assert deep == set()
