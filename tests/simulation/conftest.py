from __future__ import annotations

import math

import numpy as np
import pytest

from phantoms import Phantom, TissueProperties
from protocols import Prescription, Provenance, Scanner
from protocols.scanners.scanner import (
    Field,
    Gradients,
    Noise,
    ReceiveArray,
    ReconChain,
    SessionSpread,
    Transmit,
)


class OneTissue:
    """Table that answers every request with given properties: for bodies with textbook values."""

    def __init__(self, **values) -> None:
        self.curves = {"object": None}
        self._values = values

    def at(self, name, b0):
        values = {"t1": math.inf, "t2": math.inf, **self._values}
        return TissueProperties(name=name, verified=True, **values)


def body(fraction, spacing, first, **values) -> Phantom:
    """Phantom of one tissue with the given properties; voxel 0 sits at ``first`` [m]."""
    affine = np.diag([*np.broadcast_to(spacing, 3), 1.0])
    affine[:3, 3] = first
    return Phantom(
        name="body", tissues=("object",), fractions=np.asarray(fraction, np.float32)[None], affine=affine,
        table=OneTissue(**values), chi_outside=0.0,
    )  # fmt: skip


@pytest.fixture
def upright() -> Prescription:
    return Prescription(
        read_dir=np.array([1.0, 0, 0]), phase_dir=np.array([0, 1.0, 0]), slice_dir=np.array([0, 0, 1.0]),
        center=np.zeros(3),
    )  # fmt: skip


def scanner(f0: float = 127.73e6, channels: int = 4, **transmit) -> Scanner:
    groups = ("field", "gradients", "receive", "noise", "transmit", "session", "recon")
    return Scanner(
        name="test", vendor="Generic", manufacturer="Generic", model="T", software="1", station="A",
        institution="B",
        field=Field(f0=f0, shim_order=2, shim_residual=2.0, drift_sd=1.0),
        gradients=Gradients(
            max_amplitude=0.04, max_slew=200, design_amplitude=0.03, design_slew=120, raster=1e-5,
            rf_raster=1e-6, adc_raster=1e-7, block_raster=1e-5, rf_dead_time=1e-4, rf_ringdown=3e-5,
            adc_dead_time=1e-5,
        ),
        receive=ReceiveArray(
            coil="head", n_channels=32, simulated_channels=channels, radius_lr=0.11, radius_ap=0.135,
            radius_si=0.13,
        ),
        noise=Noise(relative_figure=1.0),
        transmit=Transmit(
            **{
                "dome": 0.3, "calibration_bias": 0.0, "calibration_sd": 0.03, "rf_spoil_increment_deg": 50.0,
                **transmit,
            }
        ),
        session=SessionSpread(translation_sd=2e-3, rotation_sd=0.02, gain_sd=0.05),
        recon=ReconChain(
            combine="rss", window="none", intensity_correction="none", partial_fourier="zero_fill",
            scaling="per_series", bits=12,
        ),
        provenance={g: Provenance(source="made for tests", verified=False) for g in groups},
    )  # fmt: skip


@pytest.fixture
def machine() -> Scanner:
    return scanner()
