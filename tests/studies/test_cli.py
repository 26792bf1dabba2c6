"""What a person at the command line gets: exit codes, one line per problem, nothing written when refused."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mrsim.cli.app import app
from mrsim.cli.options import parse_size, resolve_device

from . import fake_study
from .fakes import GOOD_TOML, FakeLibraries, write_study

VERBS = (
    "init", "validate", "plan", "run", "status", "report", "attribute", "simulate", "recon", "harmonize",
    "evaluate", "list", "show", "doctor",
)  # fmt: skip


@pytest.fixture
def fake(monkeypatch):
    """Replace the stages and, unless a test wants the real ones, the libraries."""
    monkeypatch.setitem(sys.modules, "mrsim.studies.stages", fake_study)
    monkeypatch.setattr("mrsim.studies.installed.InstalledLibraries", _Libraries)


class _Libraries(FakeLibraries):
    def scanner(self, name, overrides):
        return super().scanner(name, overrides) | {
            "software": "1", "station": "S", "institution": "I", "recon": {"combine": "rss"},
            "receive": {"coil": "C", "simulated_channels": 8}, "transmit": {"rf_spoil_increment_deg": 50.0},
        }  # fmt: skip

    def card(self, name, voxel_size):
        return {
            "name": name, "title": name, "sequence": "mprage", "geometry": {"matrix": [64, 64, 64]},
            "timing": {"te": 0.003, "tr": 2.0, "ti": 0.9, "turbo_factor": 64}, "rf": {"flip_deg": 8.0},
            "readout": {"bandwidth": 240.0, "oversampling": 2},
            "acceleration": {"phase": 2, "partial_fourier_phase": 0.75},
        }  # fmt: skip


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_help_names_every_verb():
    result = call("--help")
    assert result.exit_code == 0
    for verb in VERBS:
        assert re.search(rf"\b{verb}\b", result.output)
        assert call(verb, "--help").exit_code == 0


def test_help_is_cheap():
    """No heavy package is loaded for `mrsim --help`; what it costs is a benchmark."""
    code = (
        "import sys\nfrom mrsim.cli import main\nsys.argv = ['mrsim', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'scipy', 'pydantic', 'pandas', 'numba', 'nibabel', 'h5py', 'matplotlib', 'sigpy',"
        " 'pypulseq', 'sklearn', 'finufft', 'ismrmrd'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "HEAVY []" in out


def test_init_writes_a_valid_study_once(tmp_path):
    path = tmp_path / "s.toml"
    assert call("init", path).exit_code == 0
    assert call("validate", path).exit_code == 0
    again = call("init", path)
    assert again.exit_code == 2
    assert "exists already" in again.output
    assert call("init", tmp_path / "s.yaml").exit_code == 2


def test_bad_study_is_told_in_full_and_nothing_is_written(fake, tmp_path):
    text = GOOD_TOML.replace("seed = 3", 'seed = "3"').replace("subjects = 2", "subjects = 0\nsubjcts = 1")
    study = write_study(tmp_path, text)
    for verb in (["validate", study], ["plan", study], ["run", study, "--out", tmp_path / "o"]):
        result = call(*verb)
        assert result.exit_code == 2
        lines = result.output.strip().splitlines()
        assert len(lines) == 3
        assert all(line.startswith(f"{study}: ") for line in lines)
        assert "Traceback" not in result.output
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.toml"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "absent.toml", "--out", "o"],
        ["run", "nonsense", "--out", "o"],
        ["status", "absent"],
        ["report", "absent"],
        ["recon", "absent.h5", "--out", "x.nii.gz"],
        ["recon", "absent.h5", "--out", "x.img"],
        ["simulate", "--scanner", "siemens-prisma-3t", "--phantom", "icbm152", "--out", "x.h5"],
        ["simulate", "--scanner", "nobody", "--phantom", "icbm152", "--protocol", "x", "--out", "x.h5"],
        ["harmonize", "combat", "--in", "absent.csv", "--out", "o.csv"],
        ["harmonize", "combta", "--in", ".", "--out", "o"],
        ["evaluate", "--in", "absent", "--reference", "absent"],
        ["show", "siemens-prisma-3"],
        ["list", "toys"],
        ["nonsense"],
        ["run"],
    ],
)
def test_bad_input_is_exit_2_with_nothing_written(fake, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback(tmp_path, monkeypatch):
    monkeypatch.setenv("MRSIM_DEBUG", "0")
    result = call("status", tmp_path / "absent", "--debug")
    assert type(result.exception).__name__ == "InputError"


def test_plan_shows_cells_and_totals(fake, tmp_path):
    result = call("plan", write_study(tmp_path), "--jsonl", tmp_path / "plan.jsonl")
    assert result.exit_code == 0
    for word in ("phantom", "scan", "report", "core-hours", "memory"):
        assert word in result.output
    assert len((tmp_path / "plan.jsonl").read_bytes().splitlines()) == 105


def test_run_status_report(fake, tmp_path):
    study, out = write_study(tmp_path), tmp_path / "o"
    result = call("run", study, "--out", out, "--jobs", 1, "--quiet")
    assert result.exit_code == 0, result.output
    assert f"report: {out / 'report.html'}" in result.output.replace("\n", "")
    assert (out / "code" / "study.toml").read_bytes() == study.read_bytes()
    assert (out / "sub-01/ses-b/anat/sub-01_ses-b_run-2_FLAIR.nii.gz").is_file()
    again = call("run", study, "--out", out, "--jobs", 1, "--quiet")
    assert "0 cells computed" in again.output
    status = call("status", out)
    assert status.exit_code == 0
    assert "complete" in status.output
    assert call("report", out, "--jobs", 1, "-q").exit_code == 0
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "x").write_text("x")
    assert call("run", study, "--out", foreign).exit_code == 2
    assert [entry.name for entry in foreign.iterdir()] == ["x"]


def test_failed_cells_are_exit_1_and_the_report_names_them(fake, tmp_path, monkeypatch):
    study, out = write_study(tmp_path), tmp_path / "o"
    monkeypatch.setenv("MRSIM_TEST_FAIL", "02")
    result = call("run", study, "--out", out, "--jobs", 1, "--quiet")
    assert result.exit_code == 1, result.output
    assert "failed: phantom 02: ValueError: planted error" in result.output
    assert "phantom: ValueError: planted error" in (out / "report.html").read_text()
    assert "planted error" in call("status", out).output
    monkeypatch.delenv("MRSIM_TEST_FAIL")
    assert call("run", study, "--out", out, "--jobs", 1, "--quiet").exit_code == 0
    assert (out / "report.html").read_text() == "report"


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--device", "gpu", "auto, cpu or cuda:N"),
        ("--device", "cuda:99", "CUDA devices"),
        ("--mem", "lots", "--mem must be a size"),
        ("--mem", "1k", "at least 1 MiB"),
        ("--shard", "3/2", "I/N"),
        ("--jobs", "0", "Invalid value"),
    ],
)
def test_bad_options(fake, tmp_path, option, value, words):
    result = call("run", write_study(tmp_path), "--out", tmp_path / "o", option, value)
    assert result.exit_code == 2
    assert words in result.output
    assert not (tmp_path / "o").exists()


def test_sizes_and_devices():
    assert parse_size("6GiB") == 6 << 30
    assert parse_size("1.5 GB") == 1_500_000_000
    assert parse_size("800M") == 800_000_000
    assert resolve_device("cpu") == "cpu"
    assert re.fullmatch(r"cpu|cuda:0", resolve_device("auto"))


def test_lists_and_show():
    for kind in ("scanners", "protocols", "harmonizers", "phantoms", "studies"):
        assert call("list", kind).exit_code == 0
    for name in ("siemens-prisma-3t", "onharmony-prisma-t1w-mprage", "combat", "icbm152"):
        assert name in call("show", name).output
    assert "HDF5" in call("doctor").output


def test_table_is_harmonized(tmp_path):
    """Two sites that differ by an offset only: ComBat brings the means of each feature together."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(1)
    site = np.repeat(["a", "b"], 20)
    age = rng.uniform(20, 80, 40)
    table = pd.DataFrame({"subject": range(40), "site": site, "age": age})
    for number in range(4):
        table[f"f{number}"] = rng.normal(10, 1, 40) + 0.02 * age + 5.0 * (site == "b")
    source, out = tmp_path / "t.csv", tmp_path / "o.tsv"
    table.to_csv(source, index=False)
    result = call(
        "harmonize", "combat", "--in", source, "--out", out, "--covariates", "age", "--keep", "subject"
    )
    assert result.exit_code == 0, result.output
    made = pd.read_csv(out, sep="\t")
    assert list(made.columns) == list(table.columns)
    means = made.groupby("site")[["f0", "f1", "f2", "f3"]].mean()
    # The planted offset is 5; what sampling and shrinkage leave is below a standard error of the means (0.3).
    assert float((means.loc["a"] - means.loc["b"]).abs().max()) < 0.5
    pd.testing.assert_series_equal(made["age"], table["age"])
    wrong = call("harmonize", "combat", "--in", source, "--out", tmp_path / "p.csv", "--site-column", "sit")
    assert wrong.exit_code == 2
    assert "Did you mean 'site'?" in wrong.output


def test_images_are_harmonized_and_evaluated(tmp_path):
    import nibabel as nib
    import numpy as np

    rng = np.random.default_rng(2)
    source = tmp_path / "bids"
    for session, gain in (("a", 1.0), ("b", 3.0)):
        path = source / f"sub-01/ses-{session}/anat/sub-01_ses-{session}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        data = (gain * rng.gamma(4.0, 20.0, (12, 13, 14))).astype(np.float32)
        nib.save(nib.Nifti1Image(data, np.diag([2.0, 2.0, 2.0, 1.0])), path)
    out = tmp_path / "harmonized"
    result = call("harmonize", "identity", "--in", source, "--out", out)
    assert result.exit_code == 0, result.output
    made = out / "sub-01/ses-b/anat/sub-01_ses-b_desc-identity_T1w.nii.gz"
    assert made.is_file()
    scores = tmp_path / "scores.csv"
    result = call("evaluate", "--in", out, "--reference", source, "--out", scores)
    assert result.exit_code == 0, result.output
    import pandas as pd

    table = pd.read_csv(scores)
    assert len(table) == 2
    assert (table["nrmse"] == 0).all()
    assert call("harmonize", "identity", "--in", source, "--out", out).exit_code == 2  # not empty any more


def test_main_leaves_with_the_exit_code(tmp_path):
    script = Path(sys.executable).with_name("mrsim")
    if not script.exists():
        pytest.skip("the console script is not installed beside this interpreter")
    environment = os.environ | {"HOME": "/nonexistent", "LC_ALL": "C"}
    done = subprocess.run(
        [script, "validate", tmp_path / "no such ü.toml"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no such file" in done.stderr
