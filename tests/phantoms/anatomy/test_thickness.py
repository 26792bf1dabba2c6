import numpy as np
import pytest

from phantoms import PhantomError, icbm152_head, uniform_sphere
from phantoms.anatomy.thickness import cortical_thickness, mean_thickness, ribbon_thickness


def shell(inner, thickness, spacing, bump=0.0):
    """Ribbon and body of a shell around a (bumpy) ball, anti-aliased, off the grid's centre."""
    axis = (np.arange(int(2.6 * (inner + thickness) / spacing)) + 0.3) * spacing
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    center = axis.mean() + np.array([0.2, -0.1, 0.35]) * spacing
    r = np.sqrt((x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2)
    r = r - bump * np.cos(8 * np.arctan2(y - center[1], x - center[0]))

    def ball(radius):
        return np.clip(0.5 + (radius - r) / spacing, 0, 1).astype(np.float32)

    return ball(inner + thickness) - ball(inner), ball(inner)


@pytest.mark.parametrize(("thickness", "spacing"), [(2e-3, 0.8e-3), (3.1e-3, 1e-3)])
def test_shells_have_their_thickness(thickness, spacing):
    ribbon, inside = shell(12e-3, thickness, spacing)
    found = ribbon_thickness(ribbon, inside, spacing)
    # Partial volume counts: far below a voxel.
    assert mean_thickness(found, ribbon) == pytest.approx(thickness, abs=0.02 * spacing)
    assert np.percentile(found[found > 0], [5, 95]) == pytest.approx([thickness] * 2, abs=0.15 * spacing)


def test_touching_banks_of_a_sulcus_are_told_apart():
    """Two plates 3 mm thick that touch: 3 mm each, not 6."""
    ribbon = np.zeros((22, 20, 18), np.float32)
    ribbon[8:14] = 1
    inside = np.zeros_like(ribbon)
    inside[:8], inside[14:] = 1, 1
    found = ribbon_thickness(ribbon, inside, 1e-3)[8:14, 4:-4, 4:-4]
    # The line ends where the smoothed normals cancel: within half a voxel of the middle.
    assert found == pytest.approx(np.full(found.shape, 3e-3), abs=0.6e-3)


def test_the_mean_is_volume_over_area():
    found = np.array([[[2e-3, 4e-3]]], np.float32)
    # The same volume at 2 and 4 mm: areas 1/2 and 1/4, mean 2/(3/4).
    assert mean_thickness(found, np.ones_like(found)) == pytest.approx(8e-3 / 3)


def test_what_has_no_ribbon_is_refused():
    with pytest.raises(PhantomError, match="cubic voxels"):
        cortical_thickness(icbm152_head((3e-3, 4e-3, 4e-3)))
    with pytest.raises(PhantomError, match="known somewhere"):
        mean_thickness(cortical_thickness(uniform_sphere((8, 9, 7), 0.004, 0.02)), np.zeros((8, 9, 7)))
