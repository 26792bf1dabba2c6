"""The distributions hold the four packages with their data and notices, and nothing else."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("mrsim", "phantoms", "protocols", "recon")
DERIVED = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "build", "dist", "demo", "out", "_build", "generated", "tests"
)
# What a run needs beside code; counted from the source tree, so that a new file cannot be forgotten.
DATA = (
    "phantoms/data/*",
    "protocols/library/*/*.toml",
    "mrsim/studies/library/*.toml",
    "mrsim/studies/templates/*",
    "mrsim/simulation/bloch/*.cu*",
)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sdist, and the wheel built from it, of a copy of the source tree; the original stays as it is."""
    source = tmp_path_factory.mktemp("build") / "mrsim"
    shutil.copytree(ROOT, source, ignore=DERIVED)
    out = source / "dist"
    # Without isolation: the build backend comes from the dev extra, no network is needed.
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "build", "--no-isolation", "--outdir", out, source],
        check=True,
        capture_output=True,
        cwd=source.parent,
    )
    return out


@pytest.fixture(scope="module")
def wheel(dist: Path) -> zipfile.ZipFile:
    (path,) = dist.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def names(wheel: zipfile.ZipFile) -> set[str]:
    return set(wheel.namelist())


def info_folder(names: set[str]) -> str:
    (folder,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    return folder


def test_top_level_is_the_four_packages(names: set[str]) -> None:
    assert {name.split("/")[0] for name in names} == {*PACKAGES, info_folder(names)}


def test_declared_packages_are_those_on_disk() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    on_disk = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for package in PACKAGES
        for init in (ROOT / package).rglob("__init__.py")
    }
    assert set(declared["packages"]) == on_disk


def test_every_module_and_data_file_is_inside(names: set[str]) -> None:
    expected = {
        p.relative_to(ROOT).as_posix() for package in PACKAGES for p in (ROOT / package).rglob("*.py")
    }
    for pattern in DATA:
        found = {p.relative_to(ROOT).as_posix() for p in ROOT.glob(pattern) if p.is_file()}
        assert found, pattern
        expected |= found
    expected |= {f"{package}/py.typed" for package in PACKAGES}
    assert expected <= names


def test_nothing_else_is_inside(names: set[str]) -> None:
    endings = {PurePosixPath(name).suffix for name in names if not name.startswith(info_folder(names))}
    assert endings <= {
        ".py",
        ".typed",
        ".toml",
        ".h5",
        ".txt",
        ".html",
        ".css",
        ".js",
        ".j2",
        ".svg",
        ".cu",
        ".cuh",
    }
    assert not any("test" in PurePosixPath(name).parts[0] for name in names)


def test_licences_and_notices_travel(wheel: zipfile.ZipFile, names: set[str]) -> None:
    folder = info_folder(names)
    notices = [f"phantoms/data/NOTICE-{owner}.txt" for owner in ("CMTK", "MNI", "PhantomViewer")]
    for name in ("LICENSE", "NOTICE", *notices):
        assert wheel.read(f"{folder}/licenses/{name}") == (ROOT / name).read_bytes()
    for name in notices:  # also beside the data they belong to
        assert wheel.read(name) == (ROOT / name).read_bytes()
    assert b"Louis Collins" in wheel.read("phantoms/data/NOTICE-MNI.txt")


def test_the_core_is_light(wheel: zipfile.ZipFile, names: set[str]) -> None:
    metadata = HeaderParser().parsestr(wheel.read(f"{info_folder(names)}/METADATA").decode())
    core = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    heavy = ("torch", "monai", "cupy", "distributed", "sphinx", "pytest")
    assert not [text for text in core if text.startswith(heavy)]
    extras = set(metadata.get_all("Provides-Extra", []))
    assert extras >= {"learned", "dask", "gpu", "gpu-cu12", "docs", "dev"}
    # 7 MB of head data dominate; a distribution ten times as big would hold something by mistake.
    assert Path(wheel.filename or "").stat().st_size < 20e6


def test_check_wheel_contents_agrees(wheel: zipfile.ZipFile) -> None:
    subprocess.run(
        [
            Path(sys.executable).with_name("check-wheel-contents"),
            "--config",
            ROOT / "pyproject.toml",
            wheel.filename,
        ],
        check=True,
    )


def test_the_sdist_has_what_a_developer_needs(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("Makefile", "constraints.txt", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE"):
        assert name in inside
    assert any(name.startswith("examples/") for name in inside)
