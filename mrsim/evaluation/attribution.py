"""Splitting a difference into its causes: single causes, leave-one-out and Shapley values.

A game gives every set of causes S (a coalition) a value v(S), here the difference that is left when only the
causes in S act. The Shapley value of a cause is its marginal contribution v(S + i) - v(S), averaged over all
orders in which the causes may be switched on (Shapley 1953, "A value for n-person games"); the values of all
causes add up to v(all) - v(none). With few causes it is computed exactly, else from sampled orders in
antithetic pairs: each order is followed by its reverse (Mitchell et al., JMLR 23(43):1-46, 2022), which is
exact already with one pair where causes interact at most in pairs. The standard error comes from the spread
between the independent pairs.

Nothing here knows what a value is: values come as data, one number or one vector of measures per coalition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import factorial

import numpy as np
import numpy.typing as npt

from .inputs import FloatArray, MetricInputError

Coalition = frozenset[str]
MIN_PERMUTATIONS = 4
"""Two antithetic pairs: with one there is no standard error."""
MAX_EXACT = 16
"""Players above which the 2^n coalitions are not enumerated, whatever the budget."""


@dataclass(frozen=True, kw_only=True)
class Game:
    """Which coalitions are to be evaluated, and how their values become Shapley values.

    Attributes
    ----------
    players
        Names of the causes.
    orders
        Orders (of positions in `players`) in which the causes are switched on; order 2k + 1 is the reverse of
        order 2k. Empty: all coalitions are evaluated and the values are exact.
    """

    players: tuple[str, ...]
    orders: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        n = len(self.players)
        if n < 1 or len(set(self.players)) != n:
            raise MetricInputError(f"players must be at least one, each once; got {list(self.players)}.")
        if self.exact and n > MAX_EXACT:
            raise MetricInputError(f"at most {MAX_EXACT} players are enumerated; got {n}. Sample orders.")
        if len(self.orders) % 2 or (self.orders and len(self.orders) < MIN_PERMUTATIONS):
            raise MetricInputError(
                f"orders must be an even number of at least {MIN_PERMUTATIONS}; got {len(self.orders)}."
            )
        for first, second in zip(self.orders[::2], self.orders[1::2], strict=True):
            if sorted(first) != list(range(n)) or second != first[::-1]:
                raise MetricInputError(
                    f"orders must be permutations, each followed by its reverse; got {first}."
                )

    @property
    def exact(self) -> bool:
        """Whether all coalitions are evaluated."""
        return not self.orders

    @property
    def everyone(self) -> Coalition:
        """The coalition of all players."""
        return frozenset(self.players)

    @cached_property
    def coalitions(self) -> tuple[Coalition, ...]:
        """Every coalition whose value is needed, each once; none and all first, then single and left out."""
        needed: dict[Coalition, None] = dict.fromkeys((frozenset[str](), self.everyone))
        needed.update(dict.fromkeys(frozenset([p]) for p in self.players))
        needed.update(dict.fromkeys(self.everyone - {p} for p in self.players))
        if self.exact:
            for size in range(len(self.players) + 1):
                needed.update(dict.fromkeys(map(frozenset, combinations(self.players, size))))
        for order in self.orders:
            needed.update(dict.fromkeys(self.chain(order)))
        return tuple(needed)

    def chain(self, order: Sequence[int]) -> Iterator[Coalition]:
        """Yield the coalitions that grow from none to all as causes are switched on in an order."""
        for count in range(len(order) + 1):
            yield frozenset(self.players[i] for i in order[:count])


def plan_game(players: Sequence[str], *, permutations: int, rng: np.random.Generator) -> Game:
    """Return a game: exact where that needs no more evaluations than the sampling would.

    Parameters
    ----------
    players
        Names of the causes.
    permutations
        Orders to sample; rounded up to an even number.
    rng
        Draws the orders. The first orders do not depend on how many are drawn, so that more of them can be
        added to earlier work.

    Raises
    ------
    MetricInputError
        For fewer than `MIN_PERMUTATIONS` orders, or players that are not distinct.
    """
    n = len(players)
    if permutations < MIN_PERMUTATIONS:
        raise MetricInputError(f"permutations must be at least {MIN_PERMUTATIONS}; got {permutations}.")
    if n <= MAX_EXACT and 2**n <= 2 + permutations * max(n - 1, 0):
        return Game(players=tuple(players))
    orders: list[tuple[int, ...]] = []
    for _ in range((permutations + 1) // 2):
        order = tuple(int(i) for i in rng.permutation(n))
        orders += [order, order[::-1]]
    return Game(players=tuple(players), orders=tuple(orders))


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution:
    """What each cause explains; arrays are (player, measure) in the units of the values.

    Attributes
    ----------
    players
        Names of the causes.
    single
        Value of each cause alone, v({i}) - v(none).
    leave_one_out
        What is lost without it, v(all) - v(all without i).
    shapley, standard_error, low, high
        Shapley value, its standard error and interval (0 and the value itself where exact).
    total
        v(all) - v(none), (measure,).
    pairs
        Independent antithetic pairs behind the standard error; 0 where exact.
    confidence
        Of the interval.
    """

    players: tuple[str, ...]
    single: FloatArray
    leave_one_out: FloatArray
    shapley: FloatArray
    standard_error: FloatArray
    low: FloatArray
    high: FloatArray
    total: FloatArray
    pairs: int
    confidence: float

    @property
    def exact(self) -> bool:
        """Whether there is no sampling error."""
        return self.pairs == 0

    @property
    def interaction(self) -> FloatArray:
        """What no cause explains alone: the total less the sum of the single causes, (measure,)."""
        return np.asarray(self.total - self.single.sum(axis=0))

    @property
    def share(self) -> FloatArray:
        """Shapley values over the total; nan where the total is 0."""
        return _ratio(self.shapley, self.total)

    @property
    def efficiency_gap(self) -> float:
        """Largest distance of the sum of the Shapley values from the total, relative to the largest value."""
        size = np.maximum(np.abs(self.total), np.abs(self.shapley).max(axis=0))
        gap = np.abs(self.shapley.sum(axis=0) - self.total)
        return float(np.max(np.divide(gap, size, out=np.zeros_like(gap), where=size > 0.0), initial=0.0))

    def pairs_for(self, relative_error: float) -> FloatArray:
        """Return the pairs at which the largest error would be this part of the total, (measure,)."""
        worst = np.abs(_ratio(self.standard_error, self.total)).max(axis=0)
        return np.asarray(np.ceil(self.pairs * (worst / relative_error) ** 2))


def attribute(
    game: Game, values: Mapping[Coalition, npt.ArrayLike], *, confidence: float = 0.95
) -> Attribution:
    """Split the value of a game into its players' parts.

    Parameters
    ----------
    game
        As planned.
    values
        Coalition -> number, or vector of measures; every coalition of the game.
    confidence
        Of the interval: Student's t with one degree of freedom less than there are pairs.

    Raises
    ------
    MetricInputError
        When values are missing, not finite, or of different lengths.
    """
    if not 0.0 < confidence < 1.0:
        raise MetricInputError(f"confidence must lie in (0, 1); got {confidence}.")
    table = _table(game, values)
    none, everyone = table[frozenset()], table[game.everyone]
    single = np.stack([table[frozenset([p])] - none for p in game.players])
    left_out = np.stack([everyone - table[game.everyone - {p}] for p in game.players])
    shapley, error, pairs = _exact(game, table) if game.exact else _sampled(game, table)
    reach = error * _student(confidence, pairs) if pairs else error
    return Attribution(
        players=game.players, single=single, leave_one_out=left_out, shapley=shapley, standard_error=error,
        low=shapley - reach, high=shapley + reach, total=everyone - none, pairs=pairs, confidence=confidence,
    )  # fmt: skip


def _table(game: Game, values: Mapping[Coalition, npt.ArrayLike]) -> dict[Coalition, FloatArray]:
    missing = [c for c in game.coalitions if c not in values]
    if missing:
        raise MetricInputError(
            f"values must hold all {len(game.coalitions)} coalitions; {len(missing)} are missing, the first "
            f"is {sorted(missing[0])}."
        )
    table = {c: np.atleast_1d(np.asarray(values[c], dtype=np.float64)) for c in game.coalitions}
    shapes = {value.shape for value in table.values()}
    if len(shapes) != 1 or any(value.ndim != 1 for value in table.values()):
        raise MetricInputError(
            f"values must be numbers, or vectors of one length; got shapes {sorted(shapes)}."
        )
    if not all(np.isfinite(value).all() for value in table.values()):
        raise MetricInputError("values must be finite. Leave out the measures that some coalition lacks.")
    return table


def _exact(game: Game, table: Mapping[Coalition, FloatArray]) -> tuple[FloatArray, FloatArray, int]:
    """Weighted sum of all marginal contributions: weight |S|! (n - |S| - 1)! / n!."""
    n = len(game.players)
    result = np.zeros((n, table[game.everyone].size))
    for i, player in enumerate(game.players):
        for coalition in game.coalitions:
            if player not in coalition:
                size = len(coalition)
                weight = factorial(size) * factorial(n - size - 1) / factorial(n)
                result[i] += weight * (table[coalition | {player}] - table[coalition])
    return result, np.zeros_like(result), 0


def _sampled(game: Game, table: Mapping[Coalition, FloatArray]) -> tuple[FloatArray, FloatArray, int]:
    """Mean over pairs of orders, and its standard error from the spread between pairs."""
    marginals = np.zeros((len(game.orders), len(game.players), table[game.everyone].size))
    for k, order in enumerate(game.orders):
        steps = np.diff(np.stack([table[c] for c in game.chain(order)]), axis=0)
        marginals[k, list(order)] = steps
    pairs = 0.5 * (marginals[::2] + marginals[1::2])
    error = pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs))
    return pairs.mean(axis=0), error, len(pairs)


def _student(confidence: float, pairs: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 * (1.0 + confidence), pairs - 1))


def _ratio(values: FloatArray, total: FloatArray) -> FloatArray:
    nothing = np.full_like(values, np.nan)
    return np.asarray(
        np.divide(values, total, out=nothing, where=np.broadcast_to(total != 0.0, values.shape))
    )
