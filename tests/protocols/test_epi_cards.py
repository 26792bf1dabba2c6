"""Library cards of echo-planar, radial and spiral scans: each is playable as it stands."""

import dataclasses

import pytest

from protocols import build_with_report, list_protocols, load_protocol, load_scanner, timing_errors
from protocols.families.composer import Composer
from protocols.families.epi import EpiSeries

CARDS = [n for n in list_protocols() if load_protocol(n).sequence in ("epi", "radial", "spiral")]
EPI = [n for n in CARDS if load_protocol(n).sequence == "epi"]


def short(protocol):
    """Two volumes, one direction per shell, fewer arms."""
    if protocol.diffusion is not None:
        few = dataclasses.replace(
            protocol.diffusion, directions=(1,) * len(protocol.diffusion.b_values), b0_volumes=1
        )
        return protocol.replace(diffusion=few)
    if protocol.epi is not None:
        return protocol.replace(epi=dataclasses.replace(protocol.epi, volumes=2))
    return protocol.replace(trajectory=dataclasses.replace(protocol.trajectory, arms=12))


@pytest.mark.parametrize("name", CARDS)
def test_cards_pass_the_timing_check(name):
    protocol = short(load_protocol(name).at_resolution(0.004))
    scanner = load_scanner(protocol.scanner)
    sequence, report = build_with_report(protocol, scanner)
    assert timing_errors(sequence) == []
    assert report.tr == pytest.approx(protocol.timing.tr, abs=scanner.gradients.block_raster)
    if protocol.diffusion is None or not protocol.diffusion.minimum_te:
        slack = 1.5 * scanner.gradients.block_raster  # one rounding per interval between pulses and echo
        assert report.te == pytest.approx(protocol.timing.te, abs=slack)


@pytest.mark.parametrize("name", EPI)
def test_times_of_the_full_card_are_those_of_the_headers(name):
    """Not played: TE, TR and b-values fit, and the readout lasts as long as the DICOM header says."""
    protocol = load_protocol(name)
    series = EpiSeries(Composer(load_scanner(protocol.scanner)), short(protocol))
    line, vendor = series.kernel.train.line, protocol.vendor_value
    effective = line.spacing / series.kernel.train.stride
    if "effective_echo_spacing_s" in vendor:
        # Headers of one vendor hold an estimate from its water-fat shift; rasters are 4 and 10 us.
        assert effective == pytest.approx(vendor["effective_echo_spacing_s"], rel=6e-3)
    if "total_readout_time_s" in vendor:
        assert effective * (protocol.geometry.matrix[1] - 1) == pytest.approx(
            vendor["total_readout_time_s"], rel=6e-3
        )
    if "echo_time_ms" in vendor:
        assert protocol.timing.te == pytest.approx(1e-3 * vendor["echo_time_ms"])
    assert protocol.timing.tr == pytest.approx(series.slot * len(series.groups), abs=1e-3)
