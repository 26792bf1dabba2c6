"""Steps of gradients between blocks."""

from pathlib import Path

import numpy as np
import pytest

from protocols import GAMMA_BAR, gradient_jumps, read_seq
from protocols.pulseq.reader import parse_seq

from .seq_text import BASE, sign

KOMA = Path(__file__).parents[2].parent / "shared" / "refdata" / "koma" / "seq"


def test_gradients_that_start_and_end_at_zero_do_not_jump():
    assert not gradient_jumps(parse_seq(sign(BASE))).any()


def test_steps_at_borders_and_inside_blocks():
    text = BASE.replace(
        "2 1000 0 0 3 0 20", "2 1000 200 -300 3 0 0\n3 1000 -300 40 3 0 20\n4 1000 -250 0 3 0 0"
    )
    text = text.replace("2 100 0 1 2 0 1 1", "2 4 0 0 2 0 0 0\n7 4 0 0 4 0 0 0\n8 90 0 0 0 3 0 0")
    wanted = np.zeros((6, 3))
    wanted[1, 1] = 200  # from rest
    wanted[2, 1] = 50  # -300 to -250
    wanted[3, 2] = 300  # starts inside its block at -300, ends there at 40
    np.testing.assert_allclose(gradient_jumps(parse_seq(sign(text))), wanted, atol=1e-9)


@pytest.mark.skipif(not KOMA.is_dir(), reason="reference files ../shared/refdata/koma are not here")
def test_public_files_stay_within_the_slew_rate():
    """The spirals, whose edges are restored from samples, step by 0.5 mT/m in 10 us: 50 T/m/s."""
    for path in sorted(KOMA.glob("*/*.seq")):
        sequence = read_seq(path, allow_unsigned=True)
        slew = gradient_jumps(sequence).max() / GAMMA_BAR / sequence.rasters["gradient"]
        assert slew < (60 if path.stem == "spiral" else 1e-6), path
