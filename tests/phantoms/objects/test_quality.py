"""Quality-control objects: tables equal to their sources, geometry, closed-form k-space."""

import csv
import json
import math

import numpy as np
import pytest

from phantoms import (
    PhantomError,
    acr_bodies,
    acr_phantom,
    describe_phantom,
    gach_bodies,
    gach_phantom,
    grid_bodies,
    magphan_bodies,
    magphan_phantom,
    nist_diffusion_bodies,
    nist_diffusion_phantom,
    nist_fiducials,
    nist_vials,
    water_diffusion,
    water_fat_bodies,
    water_fat_phantom,
)
from phantoms.objects.magphan import MAGPHAN_FILE

from ..samples import SHARED, needs

QC = SHARED / "reference" / "data" / "qc"


@needs(QC)
def test_magphan_is_the_published_table():
    with (QC / "magphan_emr051_adni.csv").open() as f:
        rows = [r for r in csv.reader(f) if not r[0].startswith(("#", "name"))]
    assert len(rows) == 165
    spheres = magphan_bodies().truth["spheres"]
    for row, sphere in zip(rows, spheres, strict=True):
        diameter, x, y, z, copper, t1 = map(float, row[1:])
        assert sphere["name"] == row[0]
        assert sphere["diameter"] == pytest.approx(1e-3 * diameter)
        assert sphere["center"] == pytest.approx([1e-3 * x, 1e-3 * y, 1e-3 * z])
        assert (sphere["cuso4_g_l"], sphere["t1"]) == pytest.approx((copper, 1e-3 * t1))


@needs(QC)
def test_nist_system_is_the_published_table():
    data = json.loads((QC / "nist_system_phantom.json").read_text())
    for array, salt in (("t1", "NiCl2"), ("t2", "MnCl2")):
        table = data["arrays"][salt]
        for n, vial in enumerate(nist_vials(array)):
            left, posterior, up = table["centres_mm"][n]
            assert vial.center == pytest.approx((-1e-3 * left, -1e-3 * posterior, 1e-3 * up), abs=1e-6)
            for b0 in (1.5, 3.0):
                p = vial.tissue.at(b0)
                assert p.t1 == pytest.approx(1e-3 * table["T1_ms"][str(b0)][n])
                assert p.t2 == pytest.approx(1e-3 * table["T2_ms"][str(b0)][n])
    lot = data["lot_SN130_0130_plus"]
    for array, salt in (("t1", "Ni"), ("t2", "Mn")):
        for n, vial in enumerate(nist_vials(array, lot="lending")):
            p = vial.tissue.at(3.0)
            assert (p.t1, p.t2) == pytest.approx(
                (1e-3 * lot[f"{salt}_T1_3T_ms"][n], 1e-3 * lot[f"{salt}_T2_3T_ms"][n])
            )
    # 57 places, one of which commercial units leave to the fill port.
    assert len(nist_fiducials()) == 56


@needs(QC)
def test_nist_diffusion_is_the_published_table():
    data = json.loads((QC / "nist_diffusion_phantom.json").read_text())
    p = nist_diffusion_bodies()
    vials = p.truth["vials"]
    for n, (percent, adc) in enumerate(zip(data["PVP_percent"], data["ADC_1e3_mm2_s"], strict=True)):
        assert vials[n]["pvp_percent"] == percent
        assert vials[n]["adc"] == pytest.approx(1e-9 * adc)
        x, z = data["centres_xz_mm"][n]
        assert vials[n]["center"] == pytest.approx([-1e-3 * x, 0.0, 1e-3 * z])


def test_water_follows_its_law():
    # Holz 2000 prints 1.099, 2.025 and 2.299e-9 m2/s at 0, 20 and 25 degrees, to about 1 %.
    for temperature, d in ((0.0, 1.099e-9), (20.0, 2.025e-9), (25.0, 2.299e-9)):
        assert water_diffusion(temperature) == pytest.approx(d, rel=0.01)
    warm = nist_diffusion_bodies(20.0).table.curves["pvp-20"]
    cold = nist_diffusion_bodies().table.curves["pvp-20"]
    assert warm.adc / cold.adc == pytest.approx(water_diffusion(20.0) / water_diffusion(0.0))
    # Amouzandeh 2022: ADC/D(water) = 12.5e-5 c^2 - 23.2e-3 c + 1, within 0.035e-9 m2/s.
    assert cold.adc == pytest.approx(water_diffusion(0.0) * (12.5e-5 * 400 - 23.2e-3 * 20 + 1), abs=0.07e-9)
    with pytest.raises(PhantomError, match="liquid water"):
        water_diffusion(-3.0)


@pytest.mark.parametrize(
    "make", [magphan_bodies, nist_diffusion_bodies, acr_bodies, grid_bodies, water_fat_bodies]
)
def test_bodies_lie_inside_their_hosts_and_apart(make):
    """Random points: none in two bodies of one host, none in a body but outside its host."""
    p = make()
    low = np.min([np.subtract(b.center, b.reach) for b in p.bodies], axis=0)
    high = np.max([np.add(b.center, b.reach) for b in p.bodies], axis=0)
    points = np.random.default_rng(11).uniform(low, high, (60_000, 3))
    inside = np.stack([b.contains(points) for b in p.bodies])
    place = {b.name: n for n, b in enumerate(p.bodies) if b.name}
    for n, body in enumerate(p.bodies):
        if body.host:
            assert not (inside[n] & ~inside[place[body.host]]).any(), body.name
    for host in {b.host for b in p.bodies}:
        rows = [n for n, b in enumerate(p.bodies) if b.host == host]
        assert inside[rows].sum(axis=0).max() <= 1, host


@pytest.mark.parametrize("make", [magphan_bodies, nist_diffusion_bodies, gach_bodies])
def test_total_signal_is_the_volume(make):
    p = make()
    ones = dict.fromkeys(p.tissues, 1.0)
    outer = p.bodies[0].volume
    assert p.kspace(np.zeros(3), ones) == pytest.approx(outer, rel=1e-9)


def test_magphan_voxels():
    p = magphan_phantom(4e-3)
    assert len(p.regions) == 166
    want = sum(4 / 3 * math.pi * (0.5 * s["diameter"]) ** 3 for s in magphan_bodies().truth["spheres"])
    got = sum(v for k, v in p.volumes().items() if k != "water")
    assert got == pytest.approx(want, rel=5e-3)
    assert p.table.at("copper-282", 3.0).t1 == pytest.approx(0.282)


def test_diffusion_vials_stand_upright():
    p = nist_diffusion_phantom(4e-3)
    f = p.fraction("pvp-50").astype(float)
    spread = [np.sqrt((f * (i - (f * i).sum() / f.sum()) ** 2).sum() / f.sum()) for i in np.indices(f.shape)]
    # Two vials along y, 120 mm apart along z: length 113 mm has a deviation of 113/sqrt(12) mm.
    assert spread[1] * 4e-3 == pytest.approx(0.113 / math.sqrt(12), rel=0.02)


def test_acr_slices_show_what_they_should():
    p = acr_phantom((1e-3, 1e-3, 2.5e-3))
    z = p.affine[2, 3] + p.affine[2, 2] * np.arange(p.shape[2])
    plastic = p.fraction("plastic")

    def plane(height):
        return plastic[:, :, int(np.argmin(np.abs(z - height)))]

    uniform = plane(0.01)  # slice 7
    assert uniform[20:-20, 20:-20].max() == 0.0
    for number, contrast in ((8, 0.014), (11, 0.051)):
        sheet = plane(0.01 * (number - 6))
        middle = sheet[sheet.shape[0] // 2 - 2 : sheet.shape[0] // 2 + 2, sheet.shape[1] // 2]
        assert middle == pytest.approx(contrast, abs=1e-4)
    assert 0.05 < plane(-0.01).mean() < 0.4  # the grid's walls
    assert p.truth["disk_diameters"][0] == pytest.approx(7e-3)
    assert p.truth["disk_diameters"][-1] == pytest.approx(1.5e-3)


def test_acr_ramps_rise_one_in_ten():
    ramps = {b.name: b for b in acr_bodies().bodies if b.name.startswith("ramp-")}
    for name, sign in (("ramp-up", -1.0), ("ramp-down", 1.0)):
        along = ramps[name].rotation[:, 0]
        assert along[2] / along[0] == pytest.approx(sign * 0.1)


def test_emulsions_have_their_fat_fraction():
    p = water_fat_phantom(2e-3, fractions=(0.0, 0.25, 1.0))
    for vial in p.truth["vials"]:
        i = tuple(np.rint(np.linalg.solve(p.affine, [*vial["center"], 1.0]))[:3].astype(int))
        fat = sum(p.fraction(t)[i] for t in p.tissues if t.startswith("fat"))
        assert fat == pytest.approx(vial["fat_fraction"], abs=1e-5)
    shifts = [p.table.at(f"fat-{n}", 3.0).shift_ppm for n in range(1, 9)]
    assert shifts[1] == pytest.approx(-3.6)
    assert max(shifts) > 0  # the olefinic peak lies on the other side of water
    with pytest.raises(PhantomError, match="1 to 12 numbers"):
        water_fat_bodies((1.2,))


def test_grid_kspace_is_a_product_of_sums():
    """The lattice separates: the closed form of one axis, cubed."""
    k = np.random.default_rng(2).uniform(-90, 90, (10, 3))
    places = 0.02 * (np.arange(8) - 3.5)
    one = 0.016 * np.sinc(k * 0.016) * np.exp(-2j * np.pi * k[..., None] * places).sum(axis=-1)
    # Sums of 512 boxes in double precision.
    assert grid_bodies().kspace(k, {"object": 1.0}) == pytest.approx(one.prod(axis=1), abs=1e-13)


def test_gach_values_and_kspace():
    p = gach_bodies(0.2)
    assert p.table.at("gm", 3.0).t1 == pytest.approx(0.857 * 3.0**0.376, rel=1e-6)
    assert p.table.at("wm", 1.5).t1 == pytest.approx(0.583 * 1.5**0.382, rel=1e-6)
    assert p.table.at("csf", 7.0).t1 == pytest.approx(4.2)
    assert p.table.at("scalp", 3.0).chi == pytest.approx(1.55)
    q = gach_phantom(4e-3)
    for name, volume in p.volumes().items():
        # Overlaps of the source (0.74 mL) are shared in the voxels.
        assert q.volumes()[name] == pytest.approx(volume, rel=5e-3, abs=0.8e-6), name
    signal = {t: p.table.at(t, 3.0).pd for t in p.tissues}
    values = np.tensordot([signal[t] for t in q.tissues], q.fractions, 1)
    index = np.argwhere(values > 0)
    points = index @ q.affine[:3, :3].T + q.affine[:3, 3]
    k = np.random.default_rng(4).uniform(-25, 25, (12, 3))
    voxels = np.array([values[tuple(index.T)] @ np.exp(-2j * np.pi * (points @ one)) for one in k])
    voxels *= q.voxel_volume * np.prod(np.sinc(k * 4e-3), axis=1)
    total = abs(p.kspace(np.zeros(3), signal))
    assert np.abs(voxels - p.kspace(k, signal)).max() < 2e-3 * total


def test_the_table_of_spheres_carries_its_notice():
    assert "CC BY 3.0" in describe_phantom("magphan").licence
    notice = MAGPHAN_FILE.with_name("NOTICE-CMTK.txt").read_text()
    for part in ("SRI International", "creativecommons.org/licenses/by/3.0/us", "Changes:"):
        assert part in notice
    assert "CC BY 3.0 US" in MAGPHAN_FILE.read_text()
