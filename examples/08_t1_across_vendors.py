"""T1 of the NIST system phantom on three vendors: their own sequences against one vendor-neutral sequence.

Scans the T1 array of the phantom on an ideal scanner and on a Siemens, a GE and a Philips machine of the
library, each with its transmit error and its own RF spoiling, then with one common sequence and a measured
flip map. Prints the difference between vendors per vial and draws the errors. Takes about a minute.
"""

import matplotlib.pyplot as plt
import numpy as np

from mrsim.simulation import Session, SimulationOptions
from mrsim.studies.t1_mapping import Visit, measure_t1, spread_percent
from mrsim.studies.t1_protocols import PlateScan, native_protocol, neutral_protocol, reference_protocol
from phantoms import nist_system_phantom, nist_vials
from protocols import load_scanner

VENDORS = {"siemens-prisma-3t": "#0072B2", "ge-mr750-3t": "#D55E00", "philips-ingenia-3t": "#009E73"}

# The whole body for the fields, signal from the T1 array only: a small field of view will do.
phantom = nist_system_phantom(3e-3, arrays=("t1",), fill="silent", fiducials=False)
vials = nist_vials("t1")
plate = PlateScan()


def visit(name: str) -> Visit:
    """Return one day at a scanner whose transmitter has its mean error."""
    scanner = load_scanner(name)
    return Visit(
        phantom=phantom,
        vials=vials,
        scanner=scanner,
        session=Session(b1_scale=1 + scanner.transmit.calibration_bias),
        options=SimulationOptions(coils=False, noise=False, tolerance=1e-4),
        rng=np.random.default_rng(1),
    )


def error(t1, measurement):
    """Return the deviation from nominal [%]."""
    return 100 * (t1 / measurement.nominal - 1)


day = visit("ideal-3t")
ideal = measure_t1(day, reference_protocol(), plate)
print(f"ideal scanner, strong spoiling: at most {np.abs(error(ideal.t1, ideal)).max():.2f} % from nominal")

native, neutral, strong = {}, {}, {}
for name in VENDORS:
    day = visit(name)
    flips = day.double_angle(plate)
    native[name] = measure_t1(day, native_protocol(day.scanner.vendor), plate, flips=flips)
    neutral[name] = measure_t1(day, neutral_protocol(), plate, flips=flips)
    strong[name] = measure_t1(day, neutral_protocol(strongly_spoiled=True), plate, flips=flips)

rows = {
    "native, nominal flip angles": [m.t1 for m in native.values()],
    "native, flip map": [m.t1_corrected for m in native.values()],
    "neutral, nominal flip angles": [m.t1 for m in neutral.values()],
    "neutral, flip map": [m.t1_corrected for m in neutral.values()],
    "neutral, strong spoiler, flip map": [m.t1_corrected for m in strong.values()],
}
print("difference between vendors [%], vials 1 to 14:")
for label, values in rows.items():
    print(f"{label:34s}" + "".join(f"{v:6.1f}" for v in spread_percent(values)))

figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, constrained_layout=True)
panels = (
    ("each vendor's own sequence", native, "t1"),
    ("one sequence, flip map", neutral, "t1_corrected"),
    ("the same, strong spoiler", strong, "t1_corrected"),
)
for axis, (title, table, field) in zip(axes, panels, strict=True):
    for name, color in VENDORS.items():
        m = table[name]
        axis.semilogx(1e3 * m.nominal, error(getattr(m, field), m), "o-", color=color, ms=4, label=name)
    axis.axhline(0, color="0.5", lw=0.8)
    axis.axvspan(700, 2100, color="0.93", zorder=0)  # the range of the published differences
    axis.set(title=title, xlabel="nominal T1 [ms]")
axes[0].set_ylabel("T1 error [%]")
axes[0].legend(frameon=False, fontsize=8)
figure.savefig("t1-vendors.png", dpi=110)
