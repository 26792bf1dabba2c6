"""Diffusion methods against scans whose distortion is known; beside DIPY: ../test_agreement.py."""

import nibabel as nib
import numpy as np
import pytest

from mrsim.harmonizers import (
    GradientError,
    Gradients,
    ImageInputError,
    LinearRish,
    MethodOfMoments,
    Rish,
    UnseenSiteError,
    read_gradients,
)
from mrsim.harmonizers.diffusion.spherical_harmonics import (
    even_degrees,
    fit_matrix,
    harmonics,
)

SHAPE = (4, 5, 3)
METHODS = (Rish, LinearRish, MethodOfMoments)


def directions(count):
    place = np.arange(count) + 0.5
    polar, azimuth = np.arccos(1 - 2 * place / count), np.pi * (1 + 5**0.5) * place
    return np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=1)


def weightings(count=40, shells=(1e9, 2e9)):
    vectors = directions(count)
    bvals = np.concatenate([[0.0], *(np.full(count, b) for b in shells)])
    return Gradients(bvals=bvals, bvecs=np.concatenate([np.zeros((1, 3)), *[vectors] * len(shells)]))


def scan(seed, gradients, change=lambda attenuation: attenuation):
    """A fibre per voxel; `change` is what the scanner does to S / S0 of the weighted volumes."""
    rng = np.random.default_rng(seed)
    fibre = rng.standard_normal((*SHAPE, 3))
    fibre /= np.linalg.norm(fibre, axis=-1, keepdims=True)
    along = (fibre @ gradients.bvecs.T) ** 2
    attenuation = np.exp(-gradients.bvals * 1e-9 * (0.4 + 1.1 * along))
    made = np.where(gradients.bvals > 0, change(attenuation), 1.0)
    return nib.Nifti1Image((800.0 + 100.0 * rng.random((*SHAPE, 1))) * made, np.diag([2.0, 2.2, 2.4, 1.0]))


MASK = nib.Nifti1Image(np.ones(SHAPE, np.uint8), np.diag([2.0, 2.2, 2.4, 1.0]))


def damped(gradients):
    """Each degree of the signal times another factor: what linear RISH undoes."""

    def change(attenuation):
        out = attenuation.copy()
        for _, volumes in gradients.shells():
            basis = harmonics(gradients.bvecs[volumes], 6)
            coefficients = attenuation[..., volumes] @ fit_matrix(basis, 6, 0.0).T
            factor = np.array([0.9, 0.7, 1.3, 0.8])[even_degrees(6) // 2] - 1.0
            out[..., volumes] += (coefficients * factor) @ basis.T
        return out

    return change


CASES = {
    # Without smoothing the fit is a projection, and the factors are found exactly.
    "linear-rish": (LinearRish(reference_site="first", smoothing=0.0), damped),
    "moments": (
        MethodOfMoments(reference_site="first"),
        lambda _: lambda attenuation: 0.8 * attenuation + 0.05,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_planted_scanner_is_undone_in_a_held_out_scan(case):
    """Travelers teach the map; a person seen only through the other scanner comes back as at the first."""
    method, scanner = CASES[case]
    gradients = weightings()
    images, sites = [], []
    for seed in range(3):
        images += [scan(seed, gradients), scan(seed, gradients, scanner(gradients))]
        sites += ["first", "other"]
    method.fit(images, site=sites, gradients=[gradients] * 6, masks=[MASK] * 6)
    wanted, given = scan(9, gradients), scan(9, gradients, scanner(gradients))
    made = method.transform(given, site="other", gradients=gradients, mask=MASK)
    before, after = (
        np.abs(np.asanyarray(i.dataobj) - np.asanyarray(wanted.dataobj)).max() for i in (given, made)
    )
    print(f"\n{case}: largest error {before:.1f} -> {after:.2g} of 900")
    assert after < 2e-4  # float32 of values up to 900
    unweighted = [np.asanyarray(i.dataobj, np.float32)[..., 0] for i in (made, given)]
    np.testing.assert_array_equal(*unweighted)


@pytest.mark.parametrize("kind", METHODS)
def test_site_means_meet_over_several_people(kind):
    """Different people per voxel: the description's mean at the other site comes to that of the first."""
    gradients = weightings()
    change = damped(gradients)
    images = [scan(s, gradients) for s in range(4)] + [scan(s, gradients, change) for s in range(4)]
    sites = ["first"] * 4 + ["other"] * 4
    more = {"gradients": [gradients] * 8, "masks": [MASK] * 8}
    method = kind(reference_site="first").fit(images, site=sites, **more)
    made = [
        method.transform(i, site=s, gradients=gradients, mask=MASK)
        for i, s in zip(images, sites, strict=True)
    ]
    again = kind(reference_site="first").fit(made, site=sites, **more)
    gap_before = np.abs(method.means_[1] - method.means_[0]).mean()
    gap_after = np.abs(again.means_[1] - again.means_[0]).mean()
    print(f"\n{kind.__name__}: gap of site means {gap_before:.2e} -> {gap_after:.2e}")
    assert gap_after < 0.05 * gap_before


def test_smooth_signal_alone_is_the_fit_of_the_harmonics():
    gradients = weightings()
    given = scan(3, gradients)
    method = LinearRish(sh_order=4, smoothing=0.0, keep_residual=False)
    method.fit([given], site=["a"], gradients=[gradients], masks=[MASK])
    made = method.transform(given, site="a", gradients=gradients, mask=MASK)
    out, data = np.asanyarray(made.dataobj), np.asanyarray(given.dataobj)
    for _, volumes in gradients.shells():
        basis = harmonics(gradients.bvecs[volumes], 4)
        expected = data[..., volumes] @ np.linalg.pinv(basis).T @ basis.T
        np.testing.assert_allclose(out[..., volumes], expected, rtol=1e-5)


def test_gradient_files(tmp_path):
    gradients = weightings()
    bval, bvec = tmp_path / "s.bval", tmp_path / "s.bvec"
    np.savetxt(bval, gradients.bvals[None] / 1e6, fmt="%.0f")
    np.savetxt(bvec, gradients.bvecs.T, fmt="%.6f")
    read = read_gradients(bval, bvec)
    np.testing.assert_allclose(read.bvecs, gradients.bvecs, atol=2e-6)
    assert [(b, v.size) for b, v in read.shells()] == [(1e9, 40), (2e9, 40)]
    assert read.unweighted.tolist() == [0]
    bval.write_text("0 1000 x")
    with pytest.raises(GradientError, match=r"'s\.bval' must be a text file of numbers"):
        read_gradients(bval, bvec)
    bval.write_text("0 1000 2000")
    with pytest.raises(GradientError, match=r"'s\.bval' and 's\.bvec': bvals must have shape"):
        read_gradients(bval, bvec)


@pytest.mark.parametrize(
    ("bvals", "length", "message"),
    [([0.0, 1000.0], 1.0, "must be in s/m2"), ([0.0, 1e9], 0.5, "length 1"), ([0.0, -1e9], 1.0, "finite")],
)
def test_gradients_refuse(bvals, length, message):
    with pytest.raises(GradientError, match=message):
        Gradients(bvals=np.array(bvals), bvecs=np.array([[0.0, 0, 0], [length, 0, 0]]))


def test_refusals():
    gradients = weightings(count=20)
    given = scan(1, gradients)
    with pytest.raises(ValueError, match="28 functions and 20 directions"):
        Rish().fit([given], site=["a"], gradients=[gradients])
    with pytest.raises(ValueError, match="sh_order must be an even integer"):
        Rish(sh_order=5).fit([given], site=["a"], gradients=[gradients])
    with pytest.raises(ValueError, match="reference_site must be one of"):
        Rish(reference_site="b").fit([given], site=["a"], gradients=[gradients])
    with pytest.raises(
        ImageInputError, match=r"gradients must have one entry per site label \(1\); got more"
    ):
        MethodOfMoments().fit([given], site=["a"], gradients=[gradients] * 2)
    fitted = MethodOfMoments().fit([given], site=["a"], gradients=[gradients])
    with pytest.raises(UnseenSiteError):
        fitted.transform(given, site="b", gradients=gradients)
