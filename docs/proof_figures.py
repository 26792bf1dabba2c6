"""Draw the figures of docs/proofs.md: ``python docs/proof_figures.py [NAME ...]`` (some minutes for all).

The points are those of the tests in tests/simulation/closed_forms, on finer grids; curves are closed forms.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).parent.parent))

from mrsim.simulation.gradients import GradientSystem
from tests.simulation.closed_forms import (
    test_chemical_shift,
    test_dropout,
    test_epi_distortion,
    test_g_factor,
    test_ghost,
    test_noise,
    test_ringing,
    test_turbo_blurring,
)

IMAGES = Path(__file__).parent / "images"
COLORS = ("#00808a", "#c0561f", "#5b3fa0", "#6b7a1f")
plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
plt.rcParams["axes.prop_cycle"] = mpl.cycler(color=COLORS)


def panels(count, width=10.0, height=3.4, **options):
    """Figure and axes of a row of panels."""
    return plt.subplots(1, count, figsize=(width, height), constrained_layout=True, **options)


def save(figure, name):
    figure.savefig(IMAGES / f"proof_{name}.png", dpi=110)
    plt.close(figure)


def table(title, rows):
    print(title)
    print(np.array2string(np.asarray(rows), precision=5, suppress_small=True))


def epi_distortion():
    shifts = test_epi_distortion.measure_shift([-120.0, -80.0, -40.0, 0.0, 40.0, 80.0, 120.0])
    pile = test_epi_distortion.measure_pile_up([1000.0, 2000.0, 3000.0])
    table("EPI: df, polarity, shift found, df t N, FSL [px]", shifts)
    table("EPI: s, distance, width, peak, sum", pile)
    figure, (left, right) = panels(2)
    for color, sign, name in zip(COLORS, (1, -1), ("up", "down"), strict=False):
        own = shifts[shifts[:, 1] == sign]
        left.plot(own[:, 0], own[:, 3], color=color, lw=1)
        left.plot(own[:, 0], own[:, 2], "o", color=color, ms=5, label=f"blips {name}")
    left.set(
        xlabel="off-resonance [Hz]", ylabel="shift along the blips [px]", title="df · echo spacing · lines"
    )
    s = np.linspace(pile[:, 0].min(), pile[:, 0].max(), 50)
    right.plot(1 + s, 1 + s, color="k", lw=1, label="1 + d(shift)/dy")
    pile = pile[np.argsort(pile[:, 0])]
    for marker, column, name in (("o", 1, "distance"), ("s", 2, "width"), ("^", 3, "1 / height")):
        values = pile[:, column] if column < 3 else 1 / pile[:, column]
        right.plot(1 + pile[:, 0], values, marker, ms=5, mfc="none", label=name)
    right.set(
        xlabel="1 + field gradient · echo spacing · FOV", ylabel="over no field", title="stretch and pile-up"
    )
    for axis in (left, right):
        axis.legend(frameon=False)
    save(figure, "epi_distortion")


def chemical_shift():
    rows = test_chemical_shift.measure_gradient_echo()
    planar = test_chemical_shift.measure_echo_planar()
    table("chemical shift: B0, readout found, expected [px], slice found, expected [mm]", rows)
    table("chemical shift, EPI: B0, found, expected [px]", planar)
    figure, axes = panels(3, height=3.1)
    for axis, b0, found, expected, label, title in (
        (axes[0], rows[:, 0], rows[:, 1], rows[:, 2], "shift [px]", "readout, 240 Hz/px"),
        (axes[1], rows[:, 0], rows[:, 3], rows[:, 4], "shift [mm]", "slice of 4 mm, 2 kHz"),
        (axes[2], planar[:, 0], planar[:, 1], planar[:, 2], "shift [px]", "EPI, along the blips"),
    ):
        axis.plot(b0, expected, color="k", lw=1, label="closed form")
        axis.plot(b0, found, "o", ms=6, label="fat against water")
        axis.set(xlabel="field [T]", ylabel=label, title=title)
        axis.axhline(0, color="0.8", lw=0.8, zorder=0)
    axes[0].legend(frameon=False)
    save(figure, "chemical_shift")


def turbo_blurring():
    figure, axes = panels(3, height=3.3)
    u, decays = np.linspace(-6, 6, 601), np.geomspace(0.1, 14, 60)
    for axis, order in zip(axes, ("linear", "centric"), strict=False):
        for color, t2 in zip(COLORS, (0.4, 0.1, 0.04), strict=False):
            decay = test_turbo_blurring.ECHOES * test_turbo_blurring.SPACING / t2
            x, found, _ = test_turbo_blurring.point_image(order, t2)
            axis.plot(u, test_turbo_blurring.spread_of(order, decay, u), color=color, lw=1)
            near = (np.abs(x) < 6) & (np.arange(x.size) % 3 == 0)
            axis.plot(x[near], found[near], ".", color=color, ms=5, label=f"T2 {1e3 * t2:.0f} ms")
        axis.set(xlabel="place [px]", title=f"point, {order} order", ylim=(0, 1.05))
        axis.legend(frameon=False)
    axes[0].set_ylabel("magnitude")
    for color, order in zip(COLORS, ("linear", "centric"), strict=False):
        rows = test_turbo_blurring.measure_blurring(order, [2.0, 0.4, 0.2, 0.1, 0.06, 0.04, 0.03])
        table(f"TSE {order}: N ESP / T2, FWHM found, closed form [px], worst of the spread", rows)
        axes[2].plot(decays, [test_turbo_blurring.width_of(order, d) for d in decays], color=color, lw=1)
        axes[2].plot(rows[:, 0], rows[:, 1], "o", color=color, ms=5, label=order)
    axes[2].set(xlabel="length of the train / T2", ylabel="FWHM [px]", title="64 echoes, 180°", xscale="log")
    axes[2].legend(frameon=False)
    save(figure, "turbo_blurring")


def ringing():
    x, data, expected = test_ringing.measure_step()
    figure, axes = panels(3, height=3.3)
    edge = (x > 36.5) & (x < 44)
    axes[0].plot(x[edge] - 40.25, np.abs(expected[edge]), color="k", lw=1, label="closed form")
    axes[0].plot(x[edge][::4] - 40.25, data[edge][::4], ".", ms=5, label="image, 16×")
    axes[0].axhline(1 + test_ringing.OVERSHOOT, color=COLORS[1], lw=0.8, ls="--", label="+8.949 %")
    axes[0].set(xlabel="place from the edge [px]", title="step")
    axes[0].legend(frameon=False, loc=(0.0, 0.35), fontsize=8)
    print("overshoot", data[np.abs(x - 40.25) < 2].max() - 1, "worst", np.abs(data - np.abs(expected)).max())
    spreads = test_ringing.measure_points()
    for name in ("none", "Hamming", "Tukey 0.5", "Fermi 1, 10/128"):
        u, spread = spreads[name]
        near = np.abs(u) < 4
        axes[1].plot(u[near], spread[near], lw=1.2, label=name)
    axes[1].set(xlabel="place [px]", title="point, by window", ylim=(0, 1.05))
    axes[1].legend(frameon=False, fontsize=8)
    found = {name: test_ringing.width(*values) for name, values in spreads.items()}
    wanted = {name: test_ringing.WINDOWS[name][2] for name in found}
    table("windows: FWHM found, table", [(found[n], wanted[n]) for n in found])
    axes[2].plot([1.1, 2.1], [1.1, 2.1], color="k", lw=1)
    for n, (name, value) in enumerate(found.items()):
        axes[2].plot(wanted[name], value, "os^vD<>"[n], ms=6, color=COLORS[n % 4], label=name)
    axes[2].set(
        xlabel="FWHM of |FFT(window)| [px]", ylabel="FWHM in the image [px]", title="width at half height"
    )
    axes[2].legend(frameon=False, fontsize=8)
    save(figure, "ringing")


def ghost():
    figure, axes = panels(4, width=12.0, height=3.3)
    done, _ = test_ghost.echo_planar(GradientSystem(delay=(3e-6, 0.0, 0.0)))
    plain, corrected = done.image(), done.image(test_ghost.NAVIGATED)
    for axis, image, title in ((axes[0], plain, "3 µs late"), (axes[1], corrected, "after the navigators")):
        axis.imshow(image.data[:, :, 0].T, origin="lower", cmap="gray", vmax=0.6 * plain.data.max())
        axis.set(title=title, xticks=[], yticks=[], xlabel="readout", ylabel="phase")
    for color, (tau, x, found, expected, left, shift) in zip(
        COLORS, test_ghost.measure_delay((1e-6, 2e-6, 3e-6)), strict=False
    ):
        print(
            f"delay {1e6 * tau:.0f} us: worst {np.abs(found - expected).max():.5f}, left {left.max():.5f}",
            shift,
        )
        axes[2].plot(1e3 * x, expected, color=color, lw=1)
        axes[2].plot(1e3 * x, found, "o", color=color, ms=4, label=f"{1e6 * tau:.0f} µs")
        axes[2].plot(1e3 * x, left, "x", color=color, ms=3)
    axes[2].set(xlabel="x [mm]", ylabel="ghost over image", title="delay; × corrected")
    axes[2].legend(frameon=False)
    rows = test_ghost.measure_phase((1e-3, 2e-3, 4e-3, 8e-3))
    table("phase: amplitude [m], ghost, spread, tan phi, left", rows)
    phi = np.arctan(rows[:, 3])
    grid = np.linspace(0, 1.1 * phi.max(), 50)
    axes[3].plot(grid, np.tan(grid), color="k", lw=1, label="tan φ")
    axes[3].plot(phi, rows[:, 1], "o", ms=5, label="image")
    axes[3].plot(phi, rows[:, 4], "x", ms=5, label="corrected")
    axes[3].set(
        xlabel="phase of odd against mean line [rad]", ylabel="ghost over image", title="B0 eddy current"
    )
    axes[3].legend(frameon=False)
    save(figure, "ghost")


def noise():
    figure, axes = panels(4, width=12.5, height=3.3)
    counts, coils = (1, 4, 8, 12, 20, 32), np.arange(1, 34)
    found = [test_noise.measure_background(n) for n in counts]
    table("noise: mean and SD of the background", [(n, *f) for n, f in zip(counts, found, strict=True)])
    axes[0].plot(coils, test_noise.chi_mean(coils, 0.0), color="k", lw=1, label="central chi")
    axes[0].plot(coils, test_noise.chi_sd(coils, 0.0), color="k", lw=1)
    axes[0].plot(counts, [f[0] for f in found], "o", label="mean")
    axes[0].plot(counts, [f[1] for f in found], "s", label="SD")
    axes[0].set(xlabel="coils (whitened)", ylabel="over σ", title="background")
    for color, n in zip(COLORS, (1, 8, 32), strict=False):
        rows = test_noise.measure_signal(n, seeds=8)
        table(f"{n} coils: signal, mean, SD, voxels", rows)
        grid = np.linspace(0, 6, 60)
        axes[1].plot(grid, test_noise.chi_mean(n, grid), color=color, lw=1)
        axes[1].plot(rows[:, 0], rows[:, 1], "o", ms=4, color=color, label=f"{n} coils")
        axes[2].plot(grid, test_noise.chi_sd(n, grid), color=color, lw=1)
        axes[2].errorbar(
            rows[:, 0], rows[:, 2], rows[:, 2] / np.sqrt(2 * rows[:, 3]), fmt="o", ms=4, color=color, lw=1
        )
    axes[1].set(xlabel="signal A / σ", ylabel="mean / σ", title="signal: non-central chi")
    axes[2].set(xlabel="signal A / σ", ylabel="SD / σ", title="its standard deviation", ylim=(0.6, 1.1))
    averages, width = test_noise.measure_averages((1, 2, 4, 8, 16)), test_noise.measure_bandwidth()
    table("averages, SD", averages)
    table("bandwidth [Hz/px], SD", width)
    axes[3].loglog(averages[:, 0], averages[0, 1] / np.sqrt(averages[:, 0]) / averages[0, 1], color="k", lw=1)
    axes[3].loglog(averages[:, 0], averages[:, 1] / averages[0, 1], "o", label="averages N")
    ratio = width[:, 0] / width[0, 0]
    axes[3].loglog(ratio, np.sqrt(ratio), color="k", lw=1)
    axes[3].loglog(ratio, width[:, 1] / width[0, 1], "s", label="bandwidth / 100 Hz/px")
    axes[3].set(xlabel="factor", ylabel="σ over that at 1", title="1 / √N and √bandwidth")
    axes[3].set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    axes[3].set_yticks([0.25, 0.5, 1, 2, 3], ["0.25", "0.5", "1", "2", "3"])
    axes[3].minorticks_off()
    for axis in (axes[0], axes[1], axes[3]):
        axis.legend(frameon=False)
    save(figure, "noise")


def correlated_noise():
    figure, (left, right) = panels(2, width=8.5)
    source = test_noise.scanned(8)
    mean_square, spread, fewer = test_noise.correlated(source)
    grid = np.linspace(0, 10, 400)
    for color, options, n, label in (
        (COLORS[0], test_noise.WHITENED, 8.0, "whitened: 8 coils"),
        (COLORS[1], test_noise.PLAIN, fewer, f"as measured: acts as {fewer:.1f}"),
    ):
        noisy, clean, _ = test_noise.measure(source, options, level=3.0)
        background = noisy[clean < 0.02]
        print(label, "mean", background.mean(), "SD", background.std(), "mean square", (background**2).mean(),
              "of", mean_square, "SD of squares", (background**2).std(), "of", spread)  # fmt: skip
        left.hist(background, bins=70, range=(0, 10), density=True, histtype="step", color=color, label=label)
        left.plot(grid, test_noise.chi_density(n, grid, np.sqrt(8 / n)), color=color, lw=1, ls="--")
    left.set(xlabel="magnitude / σ", ylabel="density", title="background, 8 coils, root sum of squares")
    left.legend(frameon=False, loc="upper right", fontsize=8)
    power = np.sqrt(np.diag(source.covariance).real)
    shown = right.imshow(np.abs(source.covariance) / np.outer(power, power), cmap="viridis", vmin=0, vmax=1)
    right.set(title="correlation of the coils' noise", xticks=[], yticks=[])
    figure.colorbar(shown, ax=right)
    save(figure, "correlated_noise")


def g_factor():
    figure, axes = plt.subplots(2, 4, figsize=(11.5, 5.8), constrained_layout=True)
    for row, acceleration in zip(axes, (2, 3), strict=True):
        found, expected, mapped, inside = test_g_factor.measure(acceleration, "sense", 150)
        ratios = [test_g_factor.ratio(found, g, inside) for g in (expected, mapped)]
        print(f"SENSE R={acceleration}: noise over g", ratios, expected[inside].max(), mapped[inside].max())
        top = np.ceil(2 * np.percentile(expected[inside], 99.5)) / 2
        for axis, values, title in zip(
            row, (expected, mapped, found), ("closed form, true coils", "recon.g_factor", "150 noisy images"),
            strict=False,
        ):  # fmt: skip
            shown = axis.imshow(
                np.where(inside, values, np.nan).T, origin="lower", vmin=1, vmax=top, cmap="viridis"
            )
            axis.set(title=f"{title}, R = {acceleration}", xticks=[], yticks=[], frame_on=False)
        figure.colorbar(shown, ax=row[2])
        row[3].plot([1, top], [1, top], color="k", lw=1)
        row[3].plot(mapped[inside], found[inside], ".", ms=3, label="of recon.g_factor")
        row[3].plot(expected[inside], found[inside], ".", ms=3, label="of the closed form, true coils")
        row[3].set(xlabel="g", ylabel="g of the noise", xlim=(0.9, top), ylim=(0.7, top * 1.15))
        row[3].legend(frameon=False, fontsize=8, loc="upper left")
    save(figure, "g_factor")


def dropout():
    products = np.linspace(0.1, 2.4, 13)
    figure, axis = panels(1, width=5.4)
    grid = np.linspace(0, 2.4, 300)
    for color, options, name in (
        (COLORS[0], test_dropout.BOX, "box-shaped slice"),
        (COLORS[1], test_dropout.SHAPED, "slice of a windowed sinc"),
    ):
        rows = test_dropout.measure_dropout(products, options=options)
        table(f"dropout, {name}: g dz TE, signal, closed form", rows)
        share = rows[:, 0] / products  # of the thickness: the field narrows the slice
        window = test_dropout.windowed(grid) if options.slice_profile else 1.0
        axis.plot(grid, np.abs(np.sinc(grid)) * window, color=color, lw=1)
        axis.plot(rows[:, 0], rows[:, 1] / share, "o", color=color, ms=5, label=name)
    axis.set(xlabel="field gradient · thickness · TE [cycles]", ylabel="signal per excited thickness")
    axis.legend(frameon=False)
    save(figure, "dropout")


FIGURES = (
    epi_distortion,
    chemical_shift,
    turbo_blurring,
    ringing,
    ghost,
    noise,
    correlated_noise,
    g_factor,
    dropout,
)

if __name__ == "__main__":
    for draw in FIGURES:
        if len(sys.argv) == 1 or draw.__name__ in sys.argv[1:]:
            draw()
