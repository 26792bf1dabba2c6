"""Cards of the families, small: spin echoes, echo-planar and diffusion scans, spokes and spirals."""

from __future__ import annotations

import dataclasses

from protocols import (
    Acceleration,
    Diffusion,
    Echoes,
    Epi,
    Readout,
    RefocusingDesign,
    Rf,
    Timing,
    Trajectory,
)  # fmt: skip

from .family_cards import COARSE, COLUMN, EPI, FAST, SHORT, THIN, Family, card, sliced, slices, volume


def spin_echoes() -> dict[str, Family]:
    flat = sliced(8, 6)
    train = {"echo_spacing": 0.015, "turbo_factor": 3, "dummy_shots": 1}
    column = {"body": COLUMN, "spins": 61}
    rf = Rf(flip_deg=90.0, refocusing_deg=(150.0,))
    half = Rf(flip_deg=90.0, refocusing_deg=(180.0,))
    inverted = dataclasses.replace(rf, inversion="hypsec")
    one = {"geometry": flat, "selection": slices(), "readout": FAST, "suffix": "T2w"}
    bar = {
        "spacing": (1e-3, 5.2e-3, 5.4e-3),
        "extent": (0.03, 0.021, 0.022),
        "tissues": ("wm", "fat"),
        "t2": 30e-3,
    }
    space = {
        "timing": Timing(tr=0.4, te=0.012, echo_spacing=0.004, turbo_factor=6, dummy_shots=1),
        "refocusing": RefocusingDesign(
            scheme="prescribed", minimum_deg=40.0, center_deg=70.0, maximum_deg=110.0
        ),
        "geometry": volume(16, 6, 4),
        "readout": Readout(bandwidth=1000.0),
    }
    return {
        "TSE 2D": Family(
            protocol=card("tse", timing=Timing(tr=0.4, te=0.03, **train), rf=rf, **one), **column
        ),
        "FLAIR": Family(
            protocol=card(
                "tse",
                timing=Timing(tr=1.0, te=0.03, ti=0.5, **train),
                rf=inverted,
                **{**one, "suffix": "FLAIR"},
            ),
            **column,
        ),
        "TSE 3D, variable angles": Family(
            protocol=card(
                "tse",
                rf=Rf(flip_deg=90.0, refocusing_duration=5e-4, excitation_duration=2e-4),
                suffix="T2w",
                **space,
            ),
            body=bar,
            spins=61,
        ),
        "DIR 3D": Family(
            protocol=card(
                "tse",
                suffix="DIR",
                **{**space, "timing": dataclasses.replace(space["timing"], tr=1.2, ti=0.6, ti2=0.15)},
                rf=Rf(flip_deg=90.0, refocusing_duration=5e-4, excitation_duration=2e-4, inversion="hypsec"),
            ),
            body=bar,
            spins=61,
        ),
        "SE": Family(
            protocol=card("se", timing=Timing(tr=0.4, te=0.02, dummy_shots=1), rf=half, **one),
            **column,
        ),
        "multi-echo SE": Family(
            protocol=card(
                "se",
                timing=Timing(tr=0.4, te=0.015, dummy_shots=1),
                rf=half,
                echoes=Echoes(count=3, spacing=0.015),
                **{**one, "suffix": "MESE"},
            ),
            **column,
        ),
        "IR-SE": Family(
            protocol=card(
                "se",
                timing=Timing(tr=0.8, te=0.02, ti=0.3, dummy_shots=1),
                rf=dataclasses.replace(half, inversion="hypsec"),
                **{**one, "suffix": "IRT1"},
            ),
            **column,
        ),
    }


def echo_planar() -> dict[str, Family]:
    flat = {"geometry": sliced(16, 16), "selection": slices(), "readout": EPI}
    half = Rf(flip_deg=90.0)
    long = {**THIN, "t2": 30e-3, "tissues": ("wm", "gm", "fat")}
    small = {"geometry": sliced(12, 12), "selection": slices(), "readout": EPI, "suffix": "dwi", "rf": half}
    column = {"body": COLUMN, "spins": 61}
    water = {"body": {**COLUMN, "adc": 0.8e-9}, "spins": 61, "bloch": {"diffusion": "attenuation"}}
    echo = Epi(spin_echo=True)
    shells = Diffusion(b_values=(1e9,), directions=(3,), b0_volumes=1)
    pair = slices(4, gap=5e-3)
    return {
        "GRE-EPI": Family(
            protocol=card(
                "epi",
                timing=Timing(tr=0.5, te=0.02, dummy_shots=0),
                rf=Rf(flip_deg=60.0),
                suffix="bold",
                epi=Epi(),
                **flat,
            ),
            body=long,
        ),
        "GRE-EPI, fat saturation, partial Fourier, up and down": Family(
            protocol=card(
                "epi",
                timing=Timing(tr=0.5, te=0.025, dummy_shots=0),
                rf=Rf(flip_deg=60.0),
                suffix="bold",
                epi=Epi(fat_saturation=True, volumes=2, phase_polarity=(1, -1)),
                acceleration=Acceleration(partial_fourier_phase=0.75),
                **flat,
            ),
            body=long,
        ),
        "multiband EPI, CAIPI": Family(
            protocol=card(
                "epi",
                timing=Timing(tr=0.5, te=0.025, dummy_shots=0),
                rf=Rf(flip_deg=60.0),
                suffix="bold",
                epi=Epi(multiband=2, caipi_shift=2),
                **{**flat, "selection": pair},
            ),
            body=long,
        ),
        "SE-EPI": Family(
            protocol=card("epi", timing=Timing(tr=0.5, te=0.05, dummy_shots=0), epi=echo, **small), **column
        ),
        "DWI, monopolar": Family(
            protocol=card(
                "epi", timing=Timing(tr=0.5, te=0.07, dummy_shots=0), epi=echo, diffusion=shells, **small
            ),
            **water,
        ),
        "DWI, bipolar": Family(
            protocol=card(
                "epi",
                timing=Timing(tr=0.5, te=0.09, dummy_shots=0),
                epi=echo,
                diffusion=dataclasses.replace(shells, scheme="bipolar"),
                **small,
            ),
            **water,
        ),
    }


def curved() -> dict[str, Family]:
    rf = Rf(flip_deg=20.0)
    stack = volume(16, 16, 8, fov=(0.12, 0.12, 0.1))
    short = {**COARSE, **SHORT}
    return {
        "radial, stack": Family(
            protocol=card(
                "radial",
                geometry=stack,
                timing=Timing(tr=0.02, te=0.006, dummy_shots=2),
                rf=rf,
                readout=FAST,
                trajectory=Trajectory(arms=8),
            ),
            body=short,
        ),
        "radial, 2D": Family(
            protocol=card(
                "radial",
                geometry=sliced(16, 16),
                selection=slices(2),
                timing=Timing(tr=0.05, te=0.006, dummy_shots=2),
                rf=rf,
                readout=FAST,
                trajectory=Trajectory(arms=8),
            ),
            body={**THIN, **SHORT},
        ),
        "spiral, stack": Family(
            protocol=card(
                "spiral",
                geometry=stack,
                timing=Timing(tr=0.04, te=0.004, dummy_shots=2),
                rf=rf,
                readout=FAST,
                trajectory=Trajectory(arms=4),
            ),
            body={**COARSE, "t2": 4e-3},
        ),
    }
