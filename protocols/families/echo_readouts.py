"""Several gradient echoes after one excitation: readouts, flyback lobes, reversed lines."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..cards.contrasts import Echoes
from .composer import Block, BuildError, Composer, down, up
from .readout import ReadoutPlan


@dataclass(frozen=True, kw_only=True)
class EchoLine:
    """One readout of the train.

    Attributes
    ----------
    gap : float
        Length of the block in front of the readout [s]; 0 = none.
    start : float
        Start of the readout block [s] from the start of the train.
    reverse : bool
        Whether the line runs backwards in k.
    adc_delay : float
        ADC start [s] from block start.
    time : float
        Time of k = 0 [s] from the start of the train.
    """

    gap: float
    start: float
    reverse: bool
    adc_delay: float
    time: float


@dataclass(frozen=True, kw_only=True, eq=False)
class EchoReadouts:
    """The readouts between prephasing and spoiling of one repetition.

    A reversed line is the mirror image of a forward one in time: its k = 0 lies on sample
    ``num - 1 - center``.

    Attributes
    ----------
    composer : Composer
        Sequence under construction.
    plan : ReadoutPlan
        Forward readout.
    echoes : Echoes
        Number, spacing and polarity.
    starts : tuple of float
        Start of each readout block [s] from the start of the train.
    """

    composer: Composer
    plan: ReadoutPlan
    echoes: Echoes
    starts: tuple[float, ...]

    @property
    def duration(self) -> float:
        """Length of the train [s]."""
        return self.starts[-1] + self.plan.duration

    def later(self, shift: float) -> EchoReadouts:
        """Start the first ADC later by up to one block raster; the blocks stay."""
        return replace(self, plan=self.plan.later(shift, self.composer.scanner.gradients.rf_raster))

    @property
    def lines(self) -> list[EchoLine]:
        """The readouts in play order."""
        plan, lines, end = self.plan, [], 0.0
        mirrored = round(plan.shape.duration - plan.adc_delay - plan.num * plan.dwell, 12)
        for number, start in enumerate(self.starts):
            reverse = self.echoes.polarity == "bipolar" and number % 2 == 1
            center = plan.shape.duration - plan.center_time if reverse else plan.center_time
            lines.append(
                EchoLine(
                    gap=round(start - end, 12),
                    start=start,
                    reverse=reverse,
                    adc_delay=mirrored if reverse else plan.adc_delay,
                    time=start + center,
                )
            )
            end = start + plan.duration
        return lines

    @property
    def area(self) -> float:
        """Gradient area of the whole train on the readout axis [1/m]."""
        bipolar = self.echoes.polarity == "bipolar"
        return 0.0 if bipolar and self.echoes.count % 2 == 0 else self.plan.area

    def blocks(self) -> list[tuple[Block | None, float, int, EchoLine]]:
        """Gap block or None, length of the readout block, its gradient, and the line."""
        composer, plan = self.composer, self.plan
        monopolar, flyback = self.echoes.polarity == "monopolar", composer.trapezoid(plan.area)
        rows: list[tuple[Block | None, float, int, EchoLine]] = []
        for line in self.lines:
            gap = None
            if line.gap > 1e-9:
                back = composer.gradient(-plan.area, flyback) if monopolar else 0
                gap = Block(duration=line.gap, gx=back)
            amplitude = -plan.amplitude if line.reverse else plan.amplitude
            read = composer.gradient_amplitude(amplitude, plan.shape)
            rows.append((gap, plan.duration, read, line))
        return rows


def echo_readouts(composer: Composer, plan: ReadoutPlan, echoes: Echoes) -> EchoReadouts:
    """Place the readouts of one repetition on the block raster.

    Raises
    ------
    BuildError
        If the echoes do not fit into their spacing; names the minimum.
    """
    raster, spacing = composer.block_raster, echoes.spacing or 0.0
    bipolar = echoes.polarity == "bipolar"
    between = 0.0 if bipolar else up(composer.trapezoid(plan.area).duration, raster)
    starts = [0.0]
    for number in range(1, echoes.count):
        wanted = number * spacing
        if bipolar and number % 2:  # k = 0 comes at the mirrored time of the block
            wanted += 2.0 * plan.center_time - plan.shape.duration
        start = down(wanted + 0.5 * raster, raster)
        missing = starts[-1] + plan.duration + between - start
        if missing > 1e-9:
            raise BuildError(
                f"echoes.spacing must be at least {spacing + missing + raster:.6f} s for this readout; "
                f"got {echoes.spacing} s"
            )
        starts.append(start)
    return EchoReadouts(composer=composer, plan=plan, echoes=echoes, starts=tuple(starts))
