"""One person as most tests look at her or him: deforming a head is what costs."""

import dataclasses

import pytest

from phantoms import CohortSpec, make_subject, sample_cohort

SIZE = 2.5e-3
ELDERS = CohortSpec(n_subjects=2, seed=6, age_range=(75, 80), lesions=2.0, texture=0.03, visits=(0, 3))


@pytest.fixture(scope="session")
def elders():
    """Two people, both visits of each; the first one also without lesions and texture."""
    people = sample_cohort(ELDERS)
    return (*people, dataclasses.replace(people[0], lesion_volume=0.0, texture=0.0))


@pytest.fixture(scope="session")
def elder(elders, coarse_head):
    """Both visits of one person, the first with fibres, and the first without lesions and texture."""
    first, second, bare = elders[0], elders[1], elders[-1]
    return [make_subject(s, coarse_head, voxel_size=SIZE, fibres=s is first) for s in (first, second, bare)]
