"""Nested bodies: k-space against a fine numerical Fourier integral, volumes, and voxels of the same thing."""

import math

import numpy as np
import pytest

from phantoms import PhantomError, TissueTable
from phantoms.objects.bodies import Box, Cylinder, EllipsoidBody, ball, voxel_fractions
from phantoms.objects.body_phantom import BodyPhantom
from phantoms.objects.ellipsoids import body_tissue

SHAPES = [
    EllipsoidBody(
        tissue="a", center=(0.004, -0.002, 0.001), axes=(0.02, 0.013, 0.016), turns=(0.3, -0.5, 0.9)
    ),
    Cylinder(tissue="a", center=(-0.003, 0.001, 0.002), radius=0.012, length=0.03, turns=(0.4, 0.2, 0.0)),
    Box(tissue="a", center=(0.002, 0.003, -0.004), lengths=(0.02, 0.03, 0.012), turns=(0.1, 0.7, -0.4)),
]
PLAIN = {n: body_tissue(n, t1=math.inf, t2=math.inf, t2_prime=math.inf) for n in "abc"}
TABLE = TissueTable.uniform(*PLAIN.values())


def numerical(contains, k, reach=0.03, n=121):
    """Midpoint rule over a cube of side 2 reach."""
    step = 2.0 * reach / n
    line = (np.arange(n) + 0.5) * step - reach
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    points = points[contains(points)]
    return np.array([np.exp(-2j * np.pi * (points @ q)).sum() * step**3 for q in k])


@pytest.mark.parametrize("body", SHAPES, ids=lambda b: type(b).__name__)
def test_kspace_is_the_fourier_integral(body):
    rng = np.random.default_rng(3)
    k = np.concatenate([np.zeros((1, 3)), rng.uniform(-60, 60, (24, 3))])
    exact = body.kspace(k)
    assert exact[0] == pytest.approx(body.volume, rel=1e-12)
    worst = np.abs(exact - numerical(body.contains, k)).max() / body.volume
    print(f"{type(body).__name__}: largest deviation from a sum over 121^3 points {worst:.1e} of S(0)")
    # The midpoint rule counts surface voxels of 0.5 mm as whole: some 1e-3 of the volume at random.
    assert worst < 3e-3


@pytest.mark.parametrize("body", SHAPES, ids=lambda b: type(b).__name__)
@pytest.mark.parametrize("size", [(1.7e-3, 2.3e-3, 3.1e-3), (9e-3, 8e-3, 7e-3)])
def test_voxels_keep_volume_and_centroid(body, size):
    lines = [np.arange(-0.04, 0.04, v) for v in size]
    where, part = voxel_fractions(body, lines, 6)
    cell = math.prod(size)
    assert part.sum(dtype=float) * cell == pytest.approx(body.volume, rel=5e-3)
    for axis, (line, w) in enumerate(zip(lines, where, strict=True)):
        other = tuple(a for a in range(3) if a != axis)
        at = part.sum(axis=other, dtype=float) @ line[w] / part.sum(dtype=float)
        assert at == pytest.approx(body.center[axis], abs=0.01 * max(size))
    assert part.min() >= 0.0
    assert part.max() <= 1.0


def test_a_sheet_thinner_than_a_voxel_is_not_lost():
    sheet = Box(tissue="a", center=(0.0004, 0.0, 0.0), lengths=(0.0011, 0.03, 0.03), turns=(0.0, 0.0, 0.1))
    _, part = voxel_fractions(sheet, [np.arange(-0.02, 0.021, 0.004)] * 3, 5)
    assert part.sum(dtype=float) * 0.004**3 == pytest.approx(sheet.volume, rel=0.02)


def nested():
    return BodyPhantom(
        name="nest",
        bodies=(
            ball("a", (0.001, 0.0, 0.0), 0.025, name="outer"),
            Box(tissue="b", center=(0.004, 0.0, 0.0), lengths=(0.012, 0.02, 0.016), host="outer", name="box"),
            Cylinder(
                tissue="c", center=(0.004, 0.001, 0.0), radius=0.004, length=0.01, host="box", name="rod"
            ),
        ),
        table=TABLE,
    )


def test_a_body_takes_its_room_from_its_host():
    p = nested()
    volumes = p.volumes()
    rod, box = math.pi * 0.004**2 * 0.01, 0.012 * 0.02 * 0.016
    assert volumes["c"] == pytest.approx(rod)
    assert volumes["b"] == pytest.approx(box - rod)
    assert volumes["a"] == pytest.approx(4 / 3 * math.pi * 0.025**3 - box)
    q = p.phantom((1.5e-3, 2e-3, 2.5e-3))
    for name, volume in q.volumes().items():
        # The rod's flat ends fall between samples a fifth of a voxel apart.
        assert volume == pytest.approx(volumes[name], rel=0.03 if name == "c" else 5e-3), name
    assert q.fractions.sum(axis=0).max() <= 1.0 + 1e-6
    assert q.regions == {1: "outer", 2: "box", 3: "rod"}


def test_kspace_of_nested_bodies_is_that_of_their_voxels():
    """The Fourier sum of the voxels, each a box, tends to the closed form."""
    p, signal = nested(), {"a": 1.0, "b": 0.3 + 0.4j, "c": -0.5}
    size = 1e-3
    q = p.phantom(size)
    values = np.tensordot([signal[t] for t in q.tissues], q.fractions, 1)
    index = np.argwhere(np.abs(values) > 0)
    points = index @ q.affine[:3, :3].T + q.affine[:3, 3]
    k = np.random.default_rng(1).uniform(-80, 80, (20, 3))
    voxels = np.array([values[tuple(index.T)] @ np.exp(-2j * np.pi * (points @ one)) for one in k])
    voxels *= size**3 * np.prod(np.sinc(k * size), axis=1)
    exact = p.kspace(k, signal)
    # Partial volumes are flat inside a voxel: an error of second order in k times its size.
    assert np.abs(voxels - exact).max() < 2e-3 * abs(p.kspace(np.zeros(3), signal))


def test_mixtures_share_their_room():
    p = BodyPhantom(
        name="m",
        bodies=(
            ball("a", (0.0, 0.0, 0.0), 0.02, name="bath"),
            ball("cream", (0.0, 0.0, 0.0), 0.01, host="bath"),
        ),
        table=TABLE,
        mixtures={"cream": {"a": 0.7, "b": 0.3}},
    )
    small = 4 / 3 * math.pi * 0.01**3
    assert p.volumes()["b"] == pytest.approx(0.3 * small)
    assert p.kspace(np.zeros(3), {"a": 1.0, "b": 0.0}) == pytest.approx(
        4 / 3 * math.pi * 0.02**3 - 0.3 * small
    )
    q = p.phantom(2e-3)
    assert q.fraction("b").max() == pytest.approx(0.3, abs=1e-6)
    assert q.fractions.sum(axis=0).max() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("bodies", "word"),
    [
        ((ball("a", (0, 0, 0), 0.01, host="none"),), "earlier body"),
        ((ball("x", (0, 0, 0), 0.01),), "in the table"),
        ((ball("a", (0, 0, 0), 0.01, name="n"), ball("a", (0, 0, 0.1), 0.01, name="n")), "differ"),
    ],
)
def test_wrong_assemblies_are_explained(bodies, word):
    with pytest.raises(PhantomError, match=word):
        BodyPhantom(name="w", bodies=bodies, table=TABLE)


def test_wrong_numbers_are_explained():
    with pytest.raises(PhantomError, match="positive metres"):
        ball("a", (0, 0, 0), -0.01)
    with pytest.raises(PhantomError, match="Give metres"):
        nested().phantom(2.0)
    with pytest.raises(PhantomError, match=r"k must have shape"):
        nested().kspace([0.0, 1.0], {"a": 1.0})
    with pytest.raises(PhantomError, match="signal must name"):
        nested().kspace(np.zeros(3), {"z": 1.0})
