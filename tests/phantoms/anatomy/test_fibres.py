from __future__ import annotations

import numpy as np
import pytest

from phantoms import PhantomError, diffusion_truth, head_diffusion, icbm152_head, make_subject


@pytest.fixture(scope="module")
def head():
    h = icbm152_head(4e-3)
    return h.replace({"diffusion": head_diffusion(h, 3e-3)})


def at(head, tissue, *points):
    """Directions and weights at points [mm]."""
    return head.diffusion.fibres(head.diffusion.cells(np.array(points) * 1e-3))


def test_head_has_the_known_bundles(head):
    directions, weights = at(head, "wm", (0, -10, 25), (0, -27, -28), (10, -50, -35), (0, 26, 5))
    callosum, stem, cerebellum, genu = range(4)
    assert weights[0, genu] > 0.9
    assert abs(directions[0, genu, 0]) > 0.99
    assert weights[0, callosum] > 0.9
    assert abs(directions[0, callosum, 0]) > 0.99  # left-right
    assert weights[1, stem] > 0.9
    assert directions[1, stem, 2] > 0.85  # upwards
    assert weights[1, cerebellum] > 0.9
    truth = diffusion_truth(head)
    wm = head.fraction("wm") > 0.9
    count = (truth.weights > 0.05).sum(axis=0)[wm]
    assert (count > 0).all()
    # Crossings in most of the white matter, single fibres in some.
    assert 0.5 < (count > 1).mean() < 0.9
    assert 0.6 < np.median(truth.fractional_anisotropy[wm]) < 0.83
    # The rest is cortex and CSF.
    assert np.percentile(truth.mean_diffusivity[wm], 90) == pytest.approx(0.75e-9, rel=0.05)
    csf = head.fraction("csf") > 0.99
    # Up to 1 % of other tissue.
    assert truth.fractional_anisotropy[csf].max() < 0.01


def dyads(m):
    """Mean of n n^T over the populations of every cell, free of signs."""
    d, w = m.directions.astype(float), m.weights.astype(float)
    return np.einsum("pxyz,pxyzi,pxyzj->xyzij", w, d, d)


def test_head_field_is_smooth_and_symmetric(head):
    m = head.diffusion
    assert m.weights.sum(axis=0) == pytest.approx(1.0, abs=1e-5)
    outer, fine = dyads(m), dyads(head_diffusion(head, 1.5e-3))
    for axis in range(3):
        coarse_step, step = (np.linalg.norm(np.diff(f, axis=axis), axis=(-2, -1)) for f in (outer, fine))
        # Half the distance, half the step: no jumps but at few singular lines.
        assert np.percentile(step, 99) < 0.6 * np.percentile(coarse_step, 99)
        # Frobenius: a rotation by a is sqrt(2) sin(a), so 6 degrees in 3 mm.
        assert np.median(coarse_step) < 0.15
    # The template is symmetric: reflection in x maps the field to itself.
    mirrored = outer[::-1] * np.outer([-1, 1, 1], [-1, 1, 1])
    assert np.percentile(np.abs(mirrored - outer), 99) < 0.05


def test_a_head_with_fibres_is_not_deformed(head):
    with pytest.raises(PhantomError, match="must come without a diffusion model"):
        make_subject(None, head)


def test_the_field_follows_the_anatomy(head):
    """A head that is 10 % larger and shifted has the same field at corresponding places."""
    affine = head.affine.copy()
    affine[:3] *= 1.1
    affine[:3, 3] += [3e-3, -2e-3, 5e-3]
    moved = head_diffusion(head.replace({"affine": affine, "diffusion": None}), 3.3e-3)
    a, b = head.diffusion, moved
    assert a.shape == b.shape
    # The blur is 4 mm in both.
    wm = (head.fraction("wm") > 0.95).nonzero()
    p = np.stack(wm, axis=1) @ head.affine[:3, :3].T + head.affine[:3, 3]
    n, w = a.fibres(a.cells(p))
    m, v = b.fibres(b.cells(1.1 * p + [3e-3, -2e-3, 5e-3]))
    assert np.median(np.abs(w - v)) < 0.02
    both = (w > 0.1) & (v > 0.1)
    assert np.median(np.abs(np.einsum("pmi,pmi->pm", n, m))[both]) > 0.99
