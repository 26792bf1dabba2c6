"""Shapley values against closed forms, and their stated sampling error against truth."""

from itertools import combinations

import numpy as np
import pytest

from mrsim.evaluation.attribution import Game, attribute, plan_game
from mrsim.evaluation.inputs import MetricInputError

PLAYERS = tuple("abcdefg")
ROUNDING = 1e-12
"""Sums of a few hundred terms of order one in double precision."""


def subsets(players):
    return [frozenset(c) for size in range(len(players) + 1) for c in combinations(players, size)]


def values(function, players=PLAYERS):
    return {c: function(c) for c in subsets(players)}


def sampled(permutations, players=PLAYERS, seed=0):
    """A game of sampled orders, also where enumeration would do."""
    rng = np.random.default_rng(seed)
    orders = []
    for _ in range(permutations // 2):
        order = tuple(int(i) for i in rng.permutation(len(players)))
        orders += [order, order[::-1]]
    return Game(players=tuple(players), orders=tuple(orders))


def random_game(seed, players=PLAYERS):
    """Interactions of every order, of like size."""
    rng = np.random.default_rng(seed)
    dividends = {c: rng.normal() for c in subsets(players) if c}
    game = values(lambda s: sum(d for c, d in dividends.items() if c <= s), players)
    # A dividend is shared evenly by its members (Harsanyi 1963).
    truth = [sum(d / len(c) for c, d in dividends.items() if p in c) for p in players]
    return game, np.array(truth)


@pytest.mark.parametrize("game", [Game(players=PLAYERS), sampled(4)], ids=["exact", "sampled"])
def test_an_additive_game_gives_every_cause_its_own_worth(game):
    worth = dict(zip(PLAYERS, [3.0, -1.0, 0.0, 2.5, 7.0, -4.0, 0.1], strict=True))
    found = attribute(game, values(lambda s: sum(worth[p] for p in s)))
    own = np.array(list(worth.values()))[:, None]
    for part in (found.single, found.leave_one_out, found.shapley, found.low, found.high):
        np.testing.assert_allclose(part, own, atol=ROUNDING)
    assert np.abs(found.interaction).max() < ROUNDING


def test_a_majority_shares_evenly():
    found = attribute(Game(players=PLAYERS), values(lambda s: float(len(s) >= 4)))
    np.testing.assert_allclose(found.shapley[:, 0], 1 / 7, atol=ROUNDING)
    assert np.all(found.single == 0.0)
    assert np.all(found.leave_one_out == 0.0)
    assert found.interaction[0] == 1.0
    assert found.exact


def test_the_glove_game():
    """One left glove, two right ones: 2/3, 1/6, 1/6 (the textbook answer)."""
    found = attribute(Game(players=("l", "r", "s")), values(lambda s: float("l" in s and len(s) > 1), "lrs"))
    np.testing.assert_allclose(found.shapley[:, 0], [2 / 3, 1 / 6, 1 / 6], atol=ROUNDING)


def test_dividends_are_shared_evenly():
    game, truth = random_game(3)
    found = attribute(Game(players=PLAYERS), game)
    np.testing.assert_allclose(found.shapley[:, 0], truth, atol=50 * ROUNDING)


def test_antithetic_pairs_are_exact_where_causes_interact_in_pairs():
    rng = np.random.default_rng(5)
    pairwise = rng.normal(size=(7, 7))
    index = {p: i for i, p in enumerate(PLAYERS)}

    def worth(s):
        rows = [index[p] for p in s]
        return pairwise[np.ix_(rows, rows)].sum()

    table = values(worth)
    few = attribute(sampled(4, seed=8), table)
    every = attribute(Game(players=PLAYERS), table)
    np.testing.assert_allclose(few.shapley, every.shapley, atol=50 * ROUNDING)
    assert few.standard_error.max() < 50 * ROUNDING


@pytest.mark.parametrize("permutations", [4, 10, 64])
def test_parts_sum_to_the_whole_for_any_number_of_orders(permutations):
    game, _ = random_game(1)
    shifted = {c: v + 10.0 for c, v in game.items()}  # v(none) need not be 0
    found = attribute(sampled(permutations), shifted)
    assert found.efficiency_gap < 50 * ROUNDING
    np.testing.assert_allclose(found.shapley.sum(axis=0), found.total)
    np.testing.assert_allclose(found.share.sum(axis=0), 1.0)
    np.testing.assert_allclose(found.single.sum(axis=0) + found.interaction, found.total)


def test_the_stated_error_is_the_error_made():
    """Over 400 repetitions on one game: spread = standard error, and 95 % intervals cover 95 %."""
    game, truth = random_game(11)
    runs = [attribute(sampled(20, seed=seed), game) for seed in range(400)]
    values_ = np.array([run.shapley[:, 0] for run in runs])
    stated = np.sqrt(np.mean([run.standard_error[:, 0] ** 2 for run in runs], axis=0))
    # SD of a variance ratio over 400 runs with 9 degrees of freedom each: about sqrt(2/400 + 2/3600) = 7.5 %,
    # half of that for the ratio of standard errors; four of them.
    np.testing.assert_allclose(values_.std(axis=0) / stated, 1.0, atol=0.15)
    # Unbiased: within four standard errors of the mean over runs.
    assert np.all(np.abs(values_.mean(axis=0) - truth) < 4 * stated / np.sqrt(400))
    inside = np.mean([(r.low[:, 0] <= truth) & (truth <= r.high[:, 0]) for r in runs], axis=0)
    # Binomial SD of 0.95 over 400: 1.1 %; marginals are bounded, not normal: four of them.
    assert np.all(np.abs(inside - 0.95) < 0.045), inside


def test_more_orders_continue_fewer():
    few = plan_game("abcdefghij", permutations=6, rng=np.random.default_rng(4))
    more = plan_game("abcdefghij", permutations=20, rng=np.random.default_rng(4))
    assert more.orders[:6] == few.orders
    assert set(few.coalitions) <= set(more.coalitions)


def test_few_causes_are_enumerated_and_many_sampled():
    rng = np.random.default_rng(0)
    assert plan_game("abc", permutations=4, rng=rng).exact
    assert len(plan_game("abcde", permutations=16, rng=rng).coalitions) == 2**5
    many = plan_game("abcdefghijklmno", permutations=16, rng=rng)
    assert not many.exact
    assert len(many.coalitions) <= 2 + 15 + 15 + 16 * 14
    assert plan_game("a", permutations=4, rng=rng).exact


def test_measures_are_split_together():
    game, _ = random_game(2)
    other, _ = random_game(7)
    both = attribute(Game(players=PLAYERS), {c: [game[c], other[c]] for c in game})
    np.testing.assert_array_equal(both.shapley[:, 1], attribute(Game(players=PLAYERS), other).shapley[:, 0])


def test_null_and_alike_causes():
    """A cause that changes nothing gets nothing; causes that do the same get the same."""
    found = attribute(Game(players=tuple("abcd")), values(lambda s: float(len(s - {"d"}) ** 2), "abcd"))
    np.testing.assert_allclose(found.shapley[:, 0], [3.0, 3.0, 3.0, 0.0], atol=ROUNDING)


def test_needed_pairs_follow_the_square_root_law():
    game, _ = random_game(11)
    found = attribute(sampled(40), game)
    worst = np.abs(found.standard_error / found.total).max()
    assert found.pairs_for(worst)[0] in (20, 21)
    assert found.pairs_for(worst / 2)[0] == pytest.approx(80, abs=1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Game(players=()), "at least one"),
        (lambda: Game(players=("a", "a")), "each once"),
        (lambda: Game(players=("a", "b"), orders=((0, 1), (0, 1)) * 2), "followed by its reverse"),
        (lambda: Game(players=tuple("abcdefghijklmnopq")), "enumerated"),
        (lambda: plan_game("abc", permutations=2, rng=np.random.default_rng(0)), "at least 4"),
        (lambda: attribute(Game(players=("a",)), {frozenset(): 0.0}), "1 are missing"),
        (lambda: attribute(Game(players=("a",)), {frozenset(): 0.0, frozenset("a"): np.nan}), "finite"),
        (lambda: attribute(Game(players=("a",)), {frozenset(): 0.0, frozenset("a"): [1, 2]}), "one length"),
    ],
)
def test_what_cannot_be_split_is_refused(make, words):
    with pytest.raises(MetricInputError, match=words):
        make()


def test_a_total_of_nothing_has_no_shares():
    found = attribute(Game(players=("a", "b")), values(lambda s: 0.0, "ab"))
    assert np.isnan(found.share).all()
    assert found.efficiency_gap == 0.0
