"""Measures of a pair of images against hand-made differences."""

import math

import numpy as np
import pytest

from mrsim.studies.attribute_measures import (
    ImageMeasures,
    complete_names,
    feature_differences,
    measure_of,
    white_matter,
)

SHAPE = (7, 6, 5)


@pytest.fixture
def images():
    rng = np.random.default_rng(2)
    first = rng.uniform(0.5, 1.5, SHAPE)
    change = rng.normal(0.0, 0.2, SHAPE)
    mask = np.zeros(SHAPE, bool)
    mask[1:6, 1:5, 1:4] = True
    white = np.zeros(SHAPE, bool)
    white[2:5, 2:4, 2] = True
    change[white] = 0.0  # so that matching at white matter changes nothing
    return first, first + change, mask, white


def test_measures_are_their_definitions(images):
    first, second, mask, white = images
    found = ImageMeasures((first, second), mask, white)(first, second)
    square = np.mean((second - first)[mask] ** 2) / np.mean(first[mask] ** 2)
    for scale in ("wm", "raw"):
        assert found[f"nmse:{scale}"] == pytest.approx(square, rel=1e-6)  # images may be float32
        assert found[f"nrmse:{scale}"] == pytest.approx(math.sqrt(square), rel=1e-6)
        assert found[f"signed:{scale}"] == pytest.approx(1.0)


def test_a_gain_shows_in_raw_units_only(images):
    first, _, mask, white = images
    found = ImageMeasures((first, 1.3 * first), mask, white)(first, 1.3 * first)
    assert found["nrmse:raw"] == pytest.approx(0.3)
    assert found["nrmse:wm"] < 1e-6
    assert math.isnan(found["signed:wm"]) or abs(found["signed:wm"] - 1.0) < 1e-6


def test_the_signed_share_is_linear_and_can_be_negative(images):
    first, second, mask, white = images
    compare = ImageMeasures((first, second), mask, white)
    change = second - first
    assert compare(first, first - 0.5 * change)["signed:wm"] == pytest.approx(-0.5, abs=1e-6)
    assert compare(first, first)["signed:wm"] == 0.0
    assert compare(first, first)["nmse:raw"] == 0.0


def test_equal_images_differ_by_nothing(images):
    first, second, mask, white = images
    found = ImageMeasures((first, second), mask, white)(second, second.copy())
    assert set(found.values()) == {0.0}


def test_outside_the_brain_does_not_count(images):
    first, second, mask, white = images
    elsewhere = np.where(mask, first, 1e6)
    compare = ImageMeasures((first, second), mask, white)
    assert compare(first, elsewhere) == compare(first, first)


def test_white_matter_is_as_pure_as_there_is():
    mask = np.ones((10, 10, 10), bool)
    fraction = np.zeros(mask.shape)
    fraction[:, :, :3] = 0.8
    assert white_matter(fraction, mask).sum() == 300
    fraction[:, :, 0] = 1.0
    assert white_matter(fraction, mask).sum() == 300  # 100 pure voxels are too few
    fraction[:, :, 1:3] = 0.99
    assert white_matter(fraction, mask).sum() == 300
    with pytest.raises(ValueError, match="white matter"):
        white_matter(np.full(mask.shape, 0.2), mask)


def test_features_differ_in_percent_of_the_reference():
    first = {"volume:gm": 500.0, "intensity:wm": 2.0, "intensity:gm": 1.0, "thickness": 0.0}
    second = {"volume:gm": 525.0, "intensity:wm": 4.0, "intensity:gm": 3.0, "thickness": 1.0}
    found = feature_differences(first, second)
    assert found["volume:gm"] == pytest.approx(5.0)
    assert found["intensity:wm"] == pytest.approx(100.0)
    assert found["ratio:gm/wm"] == pytest.approx(50.0)
    assert math.isnan(found["thickness"])


def test_measures_that_some_coalition_lacks_are_told():
    kept, lost = complete_names([{"a": 1.0, "b": math.nan}, {"a": 2.0, "b": 1.0, "c": 1.0}])
    assert kept == ["a"]
    assert lost == ["b", "c"]


def test_every_measure_says_what_it_is():
    assert measure_of("nmse:wm").kind == "image"
    assert measure_of("volume:gm").unit == "%"
    assert "gm" in measure_of("ratio:gm/wm").meaning
