"""Bring your own protocol and scanner: two TOML files, checked when they are read.

Copies a card and a scanner of the library, changes a few values as an editor would, shows what a wrong value
gives, writes the sequence as a Pulseq file that an interpreter would accept, and compares the contrast of
both cards on the same head.
"""

from pathlib import Path

import numpy as np

import protocols
from mrsim.simulation import simulate, write_ismrmrd
from phantoms import icbm152_head
from protocols import RecordError, load_protocol, load_scanner, read_seq, write_seq
from recon import read_raw, reconstruct

library = Path(protocols.__file__).parent / "library"
card_text = (library / "protocols" / "onharmony-prisma-t1w-mprage.toml").read_text()
scanner_text = (library / "scanners" / "siemens-prisma-3t.toml").read_text()

# A card of our own: another flip angle and inversion time.
own = card_text.replace("onharmony-prisma-t1w-mprage", "my-t1w").replace("flip_deg = 8.0", "flip_deg = 12.0")
Path("my-t1w.toml").write_text(own.replace("ti = 0.88", "ti = 1.1"))
# A scanner of our own: the same magnet, with a transmitter that plays 10 % too little.
weak = scanner_text.replace('name = "siemens-prisma-3t"', 'name = "my-scanner"')
Path("my-scanner.toml").write_text(weak.replace("calibration_bias = 0.0", "calibration_bias = -0.1"))

# Wrong values and unknown names are refused, all at once, with their place.
wrong = own.replace("tr = 2.0", "tr = 2000").replace('"sagittal"', '"sagital"').replace("window", "windw")
Path("wrong.toml").write_text(wrong)
try:
    load_protocol("wrong.toml")
except RecordError as error:
    print("wrong.toml is refused:", *error.errors, sep="\n  ")

scanner = load_scanner("my-scanner.toml")
head = icbm152_head(2e-3)
for name in ("onharmony-prisma-t1w-mprage", "my-t1w.toml"):
    card = load_protocol(name).at_resolution(4e-3)  # same FOV, times and bandwidth per pixel
    report = write_seq("my.seq", card, scanner)  # built by pypulseq, timing-checked, signed
    raw = simulate(head, read_seq("my.seq"), scanner, card.prescription(), rng=np.random.default_rng(1))
    write_ismrmrd("my.h5", raw)
    image = reconstruct(read_raw("my.h5"))

    # Mean signal where a voxel of the head is almost pure tissue.
    mean = {}
    for tissue in ("gm", "wm"):
        pure = np.argwhere(head.fraction(tissue) > 0.99)
        voxels = np.linalg.solve(image.affine, head.affine @ np.c_[pure, np.ones(len(pure))].T)[:3]
        mean[tissue] = image.data[tuple(np.rint(voxels).astype(int))].mean()
    print(
        f"{card.name}: TE {1e3 * report.te:.2f} ms, TI {1e3 * report.ti:.0f} ms, "
        f"flip {card.rf.flip_deg:g} deg, grey/white {mean['gm'] / mean['wm']:.3f}"
    )
