"""Every example, and every Python snippet of the README, runs as a reader would run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
HANG = 600
"""Seconds after which an example counts as hanging."""
# A study with its report, and 30 scans, take most of a minute.
SLOW = {"05_tiny_study", "08_t1_across_vendors"}


def run(arguments: list[str], folder: Path) -> str:
    """Run Python in a folder with one thread and warnings of ours as errors; return what it printed."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", *arguments],
        cwd=folder,
        env={**os.environ, **threads, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=HANG,  # a hang, not a slow machine
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=[pytest.mark.slow] if p.stem in SLOW else []) for p in EXAMPLES],
    ids=lambda p: p.stem,
)
def test_example_runs(path: Path, tmp_path: Path) -> None:
    printed = run([str(path)], tmp_path)
    assert printed.strip(), "an example says what it did"
    pictures = re.findall(r"savefig\(\"(\S+)\"", path.read_text(encoding="utf-8"))
    for name in pictures:
        assert (tmp_path / name).stat().st_size > 5000, f"{name} is (nearly) empty"


def test_examples_are_documented() -> None:
    assert len(EXAMPLES) >= 5
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES:
        assert f"examples/{path.name}" in readme, f"the README does not mention {path.name}"


def snippets(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_python_snippets_of_the_readme_run(tmp_path: Path) -> None:
    """Together, in their order, as one reads them."""
    code = snippets("python")
    assert code
    run(["-c", "\n".join(code)], tmp_path)


def test_study_snippet_of_the_readme_is_valid(tmp_path: Path) -> None:
    (text,) = snippets("toml")
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    run(["-c", "from mrsim.cli import main; main()", "validate", "study.toml"], tmp_path)


def test_commands_of_the_readme_exist() -> None:
    """Every `mrsim verb` that the README names is a verb, with the options that it shows."""
    import typer.main

    from mrsim.cli.app import app

    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    lines = [line.split("#")[0].split() for block in snippets("bash") for line in block.splitlines()]
    commands = [words for words in lines if words[:1] == ["mrsim"]]
    assert commands
    for _, verb, *rest in commands:
        assert verb in verbs, verb
        command = verbs[verb]
        if hasattr(command, "commands"):  # a verb of verbs
            assert rest[0] in command.commands, (verb, rest)
            command = command.commands[rest[0]]
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in rest if word.startswith("-")} <= options, (verb, rest)
