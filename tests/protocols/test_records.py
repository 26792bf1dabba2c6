"""Scanner and protocol records: complete library, strict loading, derived cards."""

import dataclasses
import tomllib

import numpy as np
import pytest

from protocols import (
    Prescription,
    RecordError,
    list_protocols,
    list_scanners,
    load_protocol,
    load_scanner,
)
from protocols.records import find_record, load_record
from protocols.scanners.scanner import Scanner


@pytest.mark.parametrize("name", list_scanners())
def test_scanners_load_and_say_their_sources(name):
    scanner = load_scanner(name)
    assert scanner.name == name
    assert all(entry.source for entry in scanner.provenance.values())
    # "3 T" is two fields: 2.89 T for Siemens, 3.00 T for GE and Philips; 1.5 T is 1.494 T, 7 T 6.98 T.
    fields = {"siemens": 2.894, "ge": 3.0, "philips": 3.0, "ideal": 3.0}
    wanted = {"1p5t": 1.494, "7t": 6.980}.get(name.rsplit("-", 1)[-1], fields[name.split("-")[0]])
    assert scanner.b0 == pytest.approx(wanted, abs=0.003)
    assert scanner.receive.simulated_channels <= scanner.receive.n_channels


def test_the_library_covers_the_vendors_and_both_contrasts():
    cards = [load_protocol(name) for name in list_protocols()]
    for scanner in ("siemens-prisma-3t", "ge-premier-3t", "philips-ingenia-3t", "siemens-avanto-1p5t"):
        suffixes = {card.suffix for card in cards if card.scanner == scanner}
        assert {"T1w", "FLAIR"} <= suffixes
    assert {load_scanner(c.scanner).vendor for c in cards} == {"Siemens", "GE", "Philips"}
    first, second = load_scanner("siemens-prisma-3t"), load_scanner("siemens-prisma-3t-b")
    assert first.model == second.model
    assert first.station != second.station
    assert first.receive.n_channels != second.receive.n_channels


def test_vendor_semantics_are_resolved_once():
    philips, ge = load_protocol("onharmony-ingenia-t1w-tfe"), load_protocol("onharmony-mr750-t1w-bravo")
    assert philips.vendor_value["repetition_time_ms"] * 1e-3 == pytest.approx(philips.timing.echo_spacing)
    assert philips.timing.tr == 2.0
    assert not philips.verified("timing.tr")
    assert philips.verified("timing.te")
    # GE: TI counts to the first excitation; ours to the k-space centre, 104 spacings later.
    shift = 104 * ge.timing.echo_spacing
    assert ge.timing.ti == pytest.approx(ge.vendor_value["inversion_time_ms"] * 1e-3 + shift)
    # water-fat shift in pixels at 3 T (434.3 Hz) gives the bandwidth per pixel
    hertz = 3.4e-6 * load_scanner(philips.scanner).f0 / philips.vendor_value["water_fat_shift_px"]
    assert hertz == pytest.approx(philips.readout.bandwidth, rel=0.001)
    # GE: half bandwidth in kHz over 256 points
    assert 2e3 * ge.vendor_value["receiver_bandwidth_khz"] / 256 == pytest.approx(
        ge.readout.bandwidth, rel=1e-4
    )


@pytest.mark.parametrize("name", list_protocols())
def test_coarser_cards_keep_the_contrast(name):
    card = load_protocol(name)
    coarse = card.at_resolution(0.004)
    keep = ("tr", "te", "ti", "echo_spacing")
    assert [getattr(coarse.timing, k) for k in keep] == [getattr(card.timing, k) for k in keep]
    assert coarse.readout == card.readout
    assert coarse.derived_from == card.name
    assert coarse.name.endswith("4mm")
    thick = max(0.004, card.selection.thickness) if card.selection.mode == "slices" else 0.004
    assert coarse.geometry.voxel_size == pytest.approx((0.004, 0.004, thick))
    growth = np.subtract(coarse.geometry.fov, card.geometry.fov)
    assert growth.min() > -1e-9
    assert growth.max() < 2 * 0.004
    assert card.at_resolution(1e-4) is card
    again = card.at_resolution(0.002).at_resolution(0.004)
    assert np.abs(np.subtract(again.geometry.matrix, coarse.geometry.matrix)).max() <= 2  # rounded up twice
    assert again.derived_from == card.name


def raw(kind, name):
    return tomllib.loads(find_record(kind, name).read_text())


def test_all_errors_come_at_once_with_the_nearest_name():
    table = raw("scanners", "siemens-prisma-3t")
    table["gradient"] = table.pop("gradients")
    table["field"]["f0"] = 123.2
    table["noise"]["relative_figur"] = 1.0
    table["recon"]["combine"] = "rms"
    with pytest.raises(RecordError) as caught:
        load_record(Scanner, table, "bad.toml")
    text = "\n".join(caught.value.errors)
    assert "gradient: unknown key. Did you mean 'gradients'?" in text
    assert "gradients: missing" in text
    assert "field.f0 must be 1e6..1e9 Hz" in text
    assert "noise.relative_figur: unknown key. Did you mean 'relative_figure'?" in text
    assert "recon.combine: must be one of rss, adaptive" in text


@pytest.mark.parametrize(
    ("group", "key", "value", "message"),
    [
        ("timing", "te", 3.0, "te must be positive and below tr"),
        ("timing", "tr", "two", "timing.tr: must be a float"),
        ("timing", "turbo_factor", True, "timing.turbo_factor: must be a int"),
        ("timing", "turbo_factor", 500, "must not exceed the partitions"),
        ("geometry", "matrix", [256, 255, 208], "matrix must be even"),
        ("geometry", "matrix", [256, 256], "must have 3 entries"),
        ("geometry", "fov", [256.0, 256.0, 208.0], "Give metres"),
        ("readout", "bandwidth", float("nan"), "must be finite"),
        ("rf", "inversion", "none", "timing.ti and rf.inversion"),
        ("rf", "source", "", "source"),
        ("acceleration", "reference_lines", 0, "reference_lines must be >= 8"),
    ],
)
def test_bad_cards(tmp_path, group, key, value, message):
    table = raw("protocols", "onharmony-prisma-t1w-mprage")
    table[group][key] = value
    with pytest.raises(RecordError, match=message):
        load_record(type(load_protocol("onharmony-prisma-t1w-mprage")), table, "bad.toml")


def test_files_of_users(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(find_record("scanners", "ge-premier-3t").read_text())
    assert load_scanner(path) == load_scanner("ge-premier-3t")
    path.write_text("name = ")
    with pytest.raises(RecordError, match="valid TOML"):
        load_scanner(path)
    path.write_bytes(b"#" * 300_000)
    with pytest.raises(RecordError, match="must not exceed"):
        load_scanner(path)
    with pytest.raises(RecordError, match="Did you mean 'ge-premier-3t'"):
        load_scanner("ge-premier")
    with pytest.raises(RecordError, match="must exist"):
        load_protocol(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("group", "change", "text"),
    [
        ("field", {"susceptibility": 2.0}, "susceptibility must be 0..1; got 2"),
        ("gradients", {"coil": ""}, "coil must not be empty; write 'none' for linear gradients"),
        ("gradients", {"coil_error": 5.0}, "coil_error must be -0.5..0.5; got 5"),
        ("receive", {"layout": "grid"}, "layout must be even or rings; got 'grid'"),
        ("receive", {"coupling": 2.0}, "coupling must be 0..1; got 2"),
        ("transmit", {"pattern": "flat"}, "pattern must be dome or standing_wave; got 'flat'"),
        ("transmit", {"loss_tangent": -1.0}, "loss_tangent must be 0..5; got -1"),
        ("session", {"motion": "wild"}, "motion must be none, still, subtle, moderate or severe; got 'wild'"),
        ("recon", {"distortion_correction": "4d"}, "distortion_correction must be one of none, 2d, 3d"),
        ("response", {"delay": (1.0, 0.0, 0.0)}, "Give seconds, not microseconds"),
        ("response", {"low_pass": 5.0}, "low_pass must be 0"),
        ("stability", {"frequency_drift": 5.0}, "Divide Hz/min by 60"),
        ("stability", {"spike_amplitude": (50.0, 5.0)}, "two increasing positive numbers"),
        ("stability", {"spike_rate": -1.0}, "spike_rate must be 0..1000"),
    ],
)
def test_values_of_a_scanner_have_bounds(group, change, text):
    with pytest.raises(RecordError, match=text):
        dataclasses.replace(getattr(load_scanner("siemens-prisma-3t"), group), **change)


@pytest.mark.parametrize("orientation", ["sagittal", "axial", "coronal"])
def test_prescriptions_are_right_handed(orientation):
    card = load_protocol("onharmony-prisma-t1w-mprage")
    card = card.replace(geometry=dataclasses.replace(card.geometry, orientation=orientation))
    place = card.prescription()
    np.testing.assert_allclose(np.cross(place.read_dir, place.phase_dir), place.slice_dir)
    axes = {"sagittal": (2, 1, 0), "axial": (0, 1, 2), "coronal": (2, 0, 1)}
    assert tuple(np.abs(place.rotation).argmax(axis=0)) == axes[orientation]


def test_prescription_refuses_bad_directions():
    x, y, z = np.eye(3)
    with pytest.raises(RecordError, match="right-handed"):
        Prescription(read_dir=y, phase_dir=x, slice_dir=z, center=np.zeros(3))
    with pytest.raises(RecordError, match="orthonormal"):
        Prescription(read_dir=2 * x, phase_dir=y, slice_dir=z, center=np.zeros(3))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"combine": "magic"}, "combine must be one of rss, adaptive; got 'magic'"),
        ({"window": "tukey", "window_width": 0.0}, "window_width must be positive for a tukey window"),
    ],
)
def test_words_of_the_reconstruction_are_checked_also_when_replaced(change, text):
    with pytest.raises(RecordError, match=text):
        dataclasses.replace(load_scanner("siemens-prisma-3t").recon, **change)
