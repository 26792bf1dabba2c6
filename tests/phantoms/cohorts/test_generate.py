import csv
import dataclasses
import json

import numpy as np
import pytest
from scipy import ndimage
from threadpoolctl import threadpool_info, threadpool_limits

from phantoms import (
    CohortError,
    CohortSpec,
    Design,
    generate_cohort,
    icbm152_head,
    load_cohort_spec,
    load_phantom,
    make_subject,
    save_phantom,
)
from phantoms.cohorts.generate import file_name
from phantoms.cohorts.people import sample_cohort

DESIGN = Design(kind="traveling", sites=("one", "two"))
SPEC = CohortSpec(n_subjects=1, seed=3, age_range=(60, 80), lesions=1.0, texture=0.02, design=DESIGN)


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    path = tmp_path_factory.mktemp("head") / "head.h5"
    save_phantom(path, icbm152_head(4e-3))
    return path


@pytest.fixture(scope="module")
def cohort(head, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    names = []
    paths = generate_cohort(SPEC, folder, head=head, voxel_size=4e-3, progress=names.append)
    return folder, paths, names


def rows(path):
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def test_a_cohort_and_its_truth_are_on_disk(cohort):
    folder, paths, names = cohort
    assert [p.name for p in paths] == names == ["sub-0001.h5"]
    told, true = rows(folder / "participants.tsv"), rows(folder / "truth.tsv")
    for a, b, path, s in zip(told, true, paths, sample_cohort(SPEC), strict=True):
        p = load_phantom(path)
        assert a["participant_id"] == b["participant_id"] == p.truth["id"]
        assert float(a["age"]) == p.truth["age"] == s.age
        assert a["site"] == "one,two"
        assert float(b["hippocampus_ml"]) == p.truth["volumes_ml"]["hippocampus"]
        assert float(b["jacobian_min"]) > 0
        assert p.texture is not None
    planted = json.loads((folder / "cohort.json").read_text())["planted"]
    assert planted["regions"]["hippocampus"]["residual_log_sd"] == pytest.approx(0.07 * 0.8796, rel=1e-3)


def test_the_stored_map_carries_the_head_to_the_subject(cohort, head):
    """At every voxel's centre the head's fraction, where the map says, is the subject's."""
    p, source = load_phantom(cohort[1][0]), load_phantom(head)
    inverse = np.linalg.inv(source.affine)
    voxels = np.argwhere(p.brain_mask())
    x = p.transform.to_template(voxels @ p.affine[:3, :3].T + p.affine[:3, 3])
    index = (x @ inverse[:3, :3].T + inverse[:3, 3]).T
    for name in ("gm", "thalamus", "ventricular_csf", "csf"):
        there = ndimage.map_coordinates(source.fraction(name), index, order=1)
        here = p.fraction(name)[tuple(voxels.T)]
        # One step of 1/255 of rounding, in which the parts of a voxel share, and half a step of the codes.
        assert np.abs(there - here).max() < 2 / 255, name
    assert p.transform.jacobian().min() > 0
    assert p.transform.scale == p.truth["deformation"]["linear_scale"]


def test_what_is_missing_is_made_again_with_the_same_bytes_and_other_threads(cohort, head):
    folder, paths, _ = cohort
    before = [p.read_bytes() for p in paths]
    paths[0].unlink()
    names = []
    with threadpool_limits(2 if threadpool_info()[0]["num_threads"] == 1 else 1):
        generate_cohort(SPEC, folder, head=head, voxel_size=4e-3, progress=names.append)
    assert names == ["sub-0001.h5"]
    assert [p.read_bytes() for p in paths] == before


def test_another_cohort_is_not_mixed_in(cohort, head):
    with pytest.raises(CohortError, match=r"cohort.json: must describe the same cohort"):
        generate_cohort(CohortSpec(n_subjects=2, seed=4), cohort[0], head=head, voxel_size=4e-3)
    with pytest.raises(CohortError, match="workers must be 1 or more"):
        generate_cohort(SPEC, cohort[0], workers=0)


@pytest.mark.slow
def test_processes_make_the_same_bytes(cohort, head, tmp_path):
    three = dataclasses.replace(SPEC, n_subjects=3)
    paths = generate_cohort(three, tmp_path, head=head, voxel_size=4e-3, workers=2)
    assert paths[0].read_bytes() == cohort[1][0].read_bytes()  # beside others, in another process
    (last,) = (s for s in sample_cohort(three) if s.index == 2)
    save_phantom(
        tmp_path / "again.h5", make_subject(last, load_phantom(head), voxel_size=4e-3, keep_transform=True)
    )
    assert paths[2].read_bytes() == (tmp_path / "again.h5").read_bytes()


def test_visits_have_files_of_their_own():
    people = sample_cohort(CohortSpec(n_subjects=1, visits=(0, 1, 2)))
    assert [file_name(s) for s in people] == ["sub-0001.h5", "sub-0001_visit-2.h5", "sub-0001_visit-3.h5"]


FILE = """
[cohort]
n_subjects = 12
seed = 5
age_range = [55, 90]
visits = [0, 2]
lesions = 1
diagnoses = { control = 0.5, ad = 0.5 }
age_effect = { hippocampus = 0, ventricles = 2.0 }
[design]
kind = "confounded"
sites = ["A", "B"]
age = 0.6
"""


def test_descriptions_are_read_from_toml(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(FILE, encoding="utf-8")
    spec = load_cohort_spec(path)
    assert spec == CohortSpec(
        n_subjects=12, seed=5, age_range=(55, 90), visits=(0, 2), lesions=1.0,
        diagnoses={"control": 0.5, "ad": 0.5}, age_effect={"hippocampus": 0.0, "ventricles": 2.0},
        design=Design(kind="confounded", sites=("A", "B"), age=0.6),
    )  # fmt: skip
    assert np.unique([s.visit for s in sample_cohort(spec)]).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("n_subjects = 12", "", r"c.toml: cohort.n_subjects is required"),
        ("n_subjects = 12", "n_subjects = 1.5", "cohort.n_subjects must be a whole number; got 1.5"),
        ("n_subjects = 12", "n_subjects = true", "cohort.n_subjects must be a whole number"),
        ("seed = 5", "sead = 5", r"cohort must have fields of .* got \['sead'\]"),
        ("age_range = [55, 90]", "age_range = 55", "cohort.age_range must be a list"),
        ("[55, 90]", '["a", 90]', "cohort.age_range must be a number; got 'a'"),
        ("[55, 90]", "[90, 55]", "age_range must lie within"),
        ("lesions = 1", "lesions = { a = 1 }", "cohort.lesions must be a number"),
        ("ad = 0.5", 'ad = "x"', "cohort.diagnoses.ad must be a number"),
        ("age = 0.6", "age = 1.6", "design.age must be a correlation"),
        ('sites = ["A", "B"]', "sites = [1, 2]", "design.sites must be a list of texts"),
        ("[design]", "[desing]", r"tables must be of .* got \['desing'\]"),
        ("[cohort]", "[cohort", "must be TOML text"),
    ],
)
def test_bad_files_are_refused_with_file_and_field(tmp_path, old, new, text):
    path = tmp_path / "c.toml"
    path.write_text(FILE.replace(old, new), encoding="utf-8")
    with pytest.raises(CohortError, match=text) as error:
        load_cohort_spec(path)
    assert str(path) in str(error.value)


def test_large_files_are_not_parsed(tmp_path):
    path = tmp_path / "c.toml"
    path.write_bytes(b"#" * 100_000)
    with pytest.raises(CohortError, match="at most 64 KiB"):
        load_cohort_spec(path)
