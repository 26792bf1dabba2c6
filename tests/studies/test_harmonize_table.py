"""What `mrsim harmonize` says of tables: files, lines and columns at fault, and what it took for features."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mrsim.cli.app import app


@pytest.fixture
def people():
    rng = np.random.default_rng(0)
    features = {f"f{i}": rng.normal(size=30) for i in range(3)}
    return pd.DataFrame({"id": [f"s{i}" for i in range(30)], "site": np.repeat(list("abc"), 10), **features})


def told(folder, table, *arguments, out="o.tsv"):
    table.to_csv(folder / "t.tsv", sep="\t", index=False)
    call = ["harmonize", "combat", "--in", str(folder / "t.tsv"), "--out", str(folder / out), *arguments]
    return CliRunner().invoke(app, call)


def changed(table, **columns):
    """The table with single cells (row, value) or whole columns replaced."""
    made = table.astype(object)
    for name, value in columns.items():
        if isinstance(value, tuple):
            made.loc[value[0], name] = value[1]
        else:
            made[name] = value
    return made


def test_what_was_harmonized_is_named(people, tmp_path):
    said = told(tmp_path, people.assign(**{f"g{i}": np.arange(30) % (i + 5) for i in range(7)}))
    assert said.exit_code == 0, said.output
    assert "10 features, 30 rows, 3 sites" in said.output
    assert "harmonized: f0, f1, f2, g0, g1, g2, g3, g4 and 2 more" in said.output


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"f1": (3, None)}, "t.tsv: line 5, column 'f1': holds no value"),
        ({"f1": (4, "n/a")}, "t.tsv: line 6, column 'f1': holds no value"),
        ({"f1": (4, "bad")}, "t.tsv: line 6, column 'f1': holds 'bad' among numbers"),
        ({"site": (0, None)}, "t.tsv: line 2, column 'site': holds no value"),
        ({"site": "a"}, "every row is of site 'a', so there is nothing to harmonize"),
        ({"f2": 1.0}, "no variance in column 'f2'"),
    ],
    ids=str,
)
def test_faults_are_placed(people, tmp_path, columns, message):
    said = told(tmp_path, changed(people, **columns))
    assert said.exit_code == 2
    assert message in " ".join(said.output.split())
    assert not (tmp_path / "o.tsv").exists()


def test_a_word_does_not_make_groups_of_ages(people, tmp_path):
    people = people.assign(age=np.arange(30.0) * 7 % 30 + 40, sex=np.resize(["F", "M"], 30))
    known = ("--covariates", "age,sex")
    assert told(tmp_path, people, *known).exit_code == 0
    said = told(tmp_path, changed(people, age=(4, "old")), *known, out="p.tsv")
    assert said.exit_code == 2
    assert "line 6, column 'age': holds 'old' among numbers" in " ".join(said.output.split())
    assert not (tmp_path / "p.tsv").exists()


@pytest.mark.parametrize(
    ("out", "message"), [("o.xlsx", "tables are .csv or .tsv"), ("t.tsv", "is the table itself")]
)
def test_outputs_are_tables_of_their_own(people, tmp_path, out, message):
    said = told(tmp_path, people, out=out)
    assert said.exit_code == 2
    assert message in said.output
    assert len(pd.read_csv(tmp_path / "t.tsv", sep="\t")) == 30
