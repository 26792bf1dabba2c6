"""Draw the figures of docs/scanners.md: ``python docs/scanner_figures.py`` (about a minute)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

from mrsim.simulation import coils, maps, noise
from mrsim.simulation.artifacts import draw_spikes, with_frequency_drift, with_spikes
from mrsim.simulation.coarse import Head
from mrsim.simulation.gradient_fields import SphericalHarmonicField
from mrsim.simulation.motion import draw_motion, framewise_displacement
from mrsim.simulation.placement import Pose, place
from mrsim.simulation.scanner_gradients import scanner_gradients
from mrsim.simulation.session import Session
from phantoms import icbm152_head
from protocols import list_coils, list_scanners, load_coil, load_protocol, load_scanner

IMAGES = Path(__file__).parent / "images"
VENDOR_COLOR = {"Siemens": "#00808a", "GE": "#5b3fa0", "Philips": "#c0561f"}
plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def save(figure, name):
    figure.savefig(IMAGES / f"scanners-{name}.png", dpi=110)
    plt.close(figure)


class Bench:
    """The template head in the library's scanners."""

    def __init__(self):
        self.head = icbm152_head(2e-3)
        prescription = load_protocol("onharmony-prisma-t1w-mprage").prescription()
        self.placed = place(self.head, prescription, Pose.identity(), brain=self.head.brain_mask())
        self.brain = self.placed.brain > 0.5
        self.where = Head.of(self.placed)
        # Sagittal scan: array axes are (phase = anterior, slice = right, read = superior).
        self.tissue = self.placed.fractions.sum(axis=0) > 0.3

    def off_resonance(self, scanner):
        chi = np.array([p.chi for p in self.head.properties(scanner.b0)])
        return maps.b0_map(self.placed, chi, scanner, Session(), chi_outside=self.head.chi_outside)

    def transmit(self, scanner):
        b1 = maps.b1_map(self.placed, self.where, scanner, Session())
        return b1 / b1[self.brain].mean()


def views(bench, volume, mask):
    """Sagittal, coronal and axial section through the head's middle, upright, with their extents [mm]."""
    to_world = bench.placed.to_world
    axes = [bench.placed.grid.axis(i) for i in (1, 2, 0)]  # array order
    direction = [to_world[:3, c] for c in (1, 2, 0)]
    world = [int(np.argmax(np.abs(d))) for d in direction]
    order = [world.index(i) for i in range(3)]  # array axis of x, y, z
    data = np.where(mask, volume, np.nan).transpose(order)
    coordinate = []
    for i, a in enumerate(order):
        sign = np.sign(direction[a][i])
        if sign < 0:
            data = np.flip(data, axis=i)
        line = sign * axes[a] + to_world[i, 3]
        coordinate.append(np.sort(line) * 1e3)
    middle = bench.where.center * 1e3
    cut = [int(np.argmin(np.abs(c - m))) for c, m in zip(coordinate, middle, strict=True)]
    x, y, z = ((c[0], c[-1]) for c in coordinate)
    return [
        (data[cut[0]].T, (*y, *z)),
        (data[:, cut[1]].T, (*x, *z)),
        (data[:, :, cut[2]].T, (*x, *y)),
    ]


def section(axis, view, **style):
    picture, extent = view
    shown = axis.imshow(picture, origin="lower", extent=extent, **style)
    axis.set_axis_off()
    return shown


def figure_off_resonance(bench):
    figure, axes = plt.subplots(2, 4, figsize=(10, 5.2), constrained_layout=True)
    scanner = load_scanner("ge-premier-3t")
    spread = {}
    for column, order in enumerate((0, 1, 2, 3)):
        df = bench.off_resonance(scanner.replace(field=dataclasses.replace(scanner.field, shim_order=order)))
        spread[order] = df[bench.brain].std()
        for row, view in enumerate((0, 2)):
            shown = section(
                axes[row, column], views(bench, df, bench.tissue)[view], cmap="RdBu_r", vmin=-150, vmax=150
            )
        axes[0, column].set_title(f"order {order}: SD {spread[order]:.0f} Hz")
    figure.colorbar(shown, ax=axes, label="off-resonance at 3 T [Hz]; SD: in the brain", shrink=0.7)
    save(figure, "b0")


def figure_transmit(bench):
    names = {"siemens-avanto-1p5t": "1.5 T", "siemens-prisma-3t": "3 T", "siemens-terra-7t": "7 T"}
    figure, axes = plt.subplots(1, 4, figsize=(10, 3.1), constrained_layout=True)
    for axis, (name, title) in zip(axes, names.items(), strict=False):
        b1 = bench.transmit(load_scanner(name))
        shown = section(axis, views(bench, b1, bench.tissue)[2], cmap="viridis", vmin=0.5, vmax=1.7)
        brain = b1[bench.brain]
        axis.set_title(f"{title}: SD {100 * brain.std():.0f} %")
        axes[3].hist(brain, bins=80, range=(0.5, 2.0), density=True, histtype="step", label=title)
    figure.colorbar(shown, ax=axes[:3], label="flip angle over nominal", shrink=0.8)
    axes[3].set(xlabel="flip angle over nominal", yticks=[], ylabel="share of the brain")
    axes[3].legend(frameon=False)
    save(figure, "b1")


def figure_nonlinearity():
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), constrained_layout=True)
    radius = np.linspace(0, 0.2, 81)
    rng = np.random.default_rng(0)
    u = rng.normal(size=(1500, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    for name in list_coils():
        coil = load_coil(name)
        field = SphericalHarmonicField.of_coil(coil)
        inside = radius[radius <= coil.valid_radius]
        largest = [1e3 * np.linalg.norm(field.field(r * u) - r * u, axis=1).max() for r in inside]
        style = {"color": "k", "lw": 2} if not coil.synthetic else {"lw": 1.2}
        axes[0].plot(1e3 * inside, largest, label=name, **style)
    axes[0].axvspan(90, 100, color="0.9", zorder=0)
    axes[0].text(95, 7.6, "edge of the brain", rotation=90, ha="center", va="top", color="0.4")
    axes[0].set(
        xlabel="distance from the isocentre [mm]", ylabel="largest displacement [mm]", ylim=(0, 8),
        xlim=(0, 200),
    )  # fmt: skip
    axes[0].legend(frameon=False, fontsize=7, loc="upper left")
    field = SphericalHarmonicField.of_coil(load_coil("synthetic-siemens-80"))
    line = np.linspace(-0.15, 0.15, 61)
    for fixed in np.linspace(-0.15, 0.15, 13):
        for along in (0, 2):
            p = np.zeros((line.size, 3))
            p[:, along], p[:, 2 - along] = line, fixed
            q = p + 5 * (field.field(p) - p)
            axes[1].plot(1e3 * p[:, 0], 1e3 * p[:, 2], color="0.85", lw=0.8)
            axes[1].plot(1e3 * q[:, 0], 1e3 * q[:, 2], color=VENDOR_COLOR["Siemens"], lw=0.9)
    axes[1].set(
        xlabel="x [mm]", ylabel="z [mm]", aspect="equal", title="synthetic-siemens-80, five times enlarged"
    )
    save(figure, "nonlinearity")


def figure_receive():
    figure, axes = plt.subplots(1, 4, figsize=(11, 3.0), constrained_layout=True)
    step = 0.012
    grid = np.stack(np.meshgrid(*[np.arange(-0.12, 0.1201, step)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid[np.linalg.norm(grid / np.array([0.075, 0.095, 0.085]), axis=1) < 1]
    for axis, (channels, layout) in zip(axes, ((8, "rings"), (32, "even"), (64, "rings")), strict=False):
        array = coils.helmet(channels, semi_axes=(0.125, 0.145, 0.13), center=np.zeros(3), layout=layout)
        _, a = coils.loop_fields(array, grid)
        r = coils.sample_resistance(a, np.full(len(grid), step**3 * noise.BRAIN_CONDUCTIVITY))
        mixing = coils.coupling_matrix(array, 0.1)
        psi = mixing @ noise.noise_covariance(r, f0=127.7e6, noise_factor=2.0) @ mixing.T
        d = np.sqrt(np.diag(psi))
        shown = axis.imshow(np.abs(psi / np.outer(d, d)), vmin=0, vmax=0.6, cmap="magma")
        off = np.abs(psi / np.outer(d, d))[~np.eye(channels, dtype=bool)]
        axis.set_title(f"{channels} loops, {layout}\nmedian {np.median(off):.2f}, largest {off.max():.2f}")
        axis.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes[:3], label="noise correlation", shrink=0.8)
    array = coils.helmet(32, semi_axes=(0.125, 0.145, 0.13), center=np.zeros(3), layout="rings")
    mid, _ = array.segments()
    for loop in mid:
        if loop[:, 0].mean() > -1e-3:
            loop = np.vstack([loop, loop[:1]])
            axes[3].plot(1e3 * loop[:, 1], 1e3 * loop[:, 2], lw=0.9, color=VENDOR_COLOR["GE"])
    axes[3].set(aspect="equal", xlabel="y [mm]", ylabel="z [mm]", title="32 loops on rings,\nright half")
    save(figure, "receive")


def figure_response():
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.0), constrained_layout=True)
    frequency = np.linspace(0, 12e3, 2000)
    slow = np.logspace(-1, 3, 400)
    for name in list_scanners():
        scanner = load_scanner(name)
        if name in ("ideal-3t", "siemens-prisma-3t-b", "siemens-terra-7t"):
            continue
        system, color = scanner_gradients(scanner), VENDOR_COLOR[scanner.vendor]
        h = system.transfer(frequency)
        style = {"color": color, "lw": 1, "alpha": 0.9}
        axes[0].plot(frequency / 1e3, np.abs(h[0, 0]), label=f"{scanner.vendor} {scanner.model}", **style)
        axes[1].plot(frequency / 1e3, np.rad2deg(np.angle(h[0, 0])), **style)
        axes[2].semilogx(slow, 1e2 * (np.abs(system.transfer(slow)[2, 2]) - 1), **style)
    axes[0].set(xlabel="frequency [kHz]", ylabel="|H|, x axis")
    axes[1].set(xlabel="frequency [kHz]", ylabel="phase, x axis [°]", xlim=(0, 8), ylim=(-5, 5))
    axes[2].set(xlabel="frequency [Hz]", ylabel="|H| - 1, z axis [%]")
    handles = [plt.Line2D([], [], color=c, label=v) for v, c in VENDOR_COLOR.items()]
    axes[0].legend(handles=handles, frameon=False)
    save(figure, "response")


def figure_within_a_scan():
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.0), constrained_layout=True)
    center = np.array([0.0, -0.01, -0.06])
    times = np.arange(0, 300, 1.0)
    for kind, axis in (("still", axes[0]), ("subtle", axes[1])):
        motion = draw_motion(kind, (5, 1), 300.0, center=center)
        shift, angles = motion.parameters(times)
        axis.plot(times, 1e3 * shift, lw=1, color="#00808a")
        axis.plot(times, np.rad2deg(angles), lw=1, color="#c0561f")
        fd = 1e3 * framewise_displacement(motion, times[::2])
        axis.set(xlabel="time [s]", title=f"{kind}: FD {fd.mean():.2f} mm per 2 s")
    axes[0].set_ylabel("shift [mm] (green), turn [°] (red)")
    head = icbm152_head(2e-3).fraction("wm", "cerebellar_wm")[:, :, 45].T
    k = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(head)))
    rows = [row[None].astype(complex) for row in k]
    spike = draw_spikes(np.random.default_rng(6), [r.shape[1] for r in rows], rate=3.0)
    k_spiked = np.vstack(with_spikes(rows, spike))
    lines = len(rows)
    tau = [np.full(r.shape[1], 5e-3 + 0.5e-3 * i) for i, r in enumerate(rows)]
    late = [np.full(r.shape[1], 600.0) + t for r, t in zip(rows, tau, strict=True)]
    k_drift = np.vstack(with_frequency_drift(rows, late, tau, 0.5 / 60 * 20))

    def magnitude(data):
        image = np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(data))))
        return np.clip(image / np.percentile(image, 99.5), 0, 1)

    axes[2].imshow(magnitude(k_spiked) ** 0.4, cmap="gray", origin="lower")
    axes[2].set_title(f"{len(spike)} spikes\n(gray level: signal to the 0.4)")
    before, after = magnitude(k), magnitude(k_drift)
    axes[3].imshow(np.stack([before, after, after], axis=-1), origin="lower")
    axes[3].set_title(f"EPI of {lines} lines, 0.5 ms apart,\nbefore (red) and after 100 Hz (cyan)")
    for axis in axes[2:]:
        axis.set_axis_off()
    save(figure, "within-a-scan")


def main():
    figure_nonlinearity()
    figure_receive()
    figure_response()
    figure_within_a_scan()
    bench = Bench()
    figure_off_resonance(bench)
    figure_transmit(bench)


if __name__ == "__main__":
    main()
