"""One subject, one scanner: from a head to raw data to an image.

Draws a subject whose anatomy is known, plays a Siemens T1-weighted card on it, reconstructs the raw data as a
file of any scanner would be, and shows three slices beside the true tissues.

Run it in any folder: ``python 01_one_scan.py``. It writes scan.h5 (ISMRMRD), scan.nii.gz with its JSON
sidecar and scan.png.
"""

import matplotlib.pyplot as plt
import numpy as np

from mrsim.simulation import draw_session, simulate, write_ismrmrd
from phantoms import CohortSpec, icbm152_head, make_subject, sample_cohort
from protocols import load_protocol, load_scanner, read_seq, write_seq
from recon import read_raw, reconstruct, write_nifti

# A person: age, sex, head size and regional volumes are drawn, then the head is deformed to meet them.
(person,) = sample_cohort(CohortSpec(n_subjects=1, seed=7))
head = make_subject(person, icbm152_head(2e-3))
print(f"{person.id}: {person.age:.0f} y, {person.sex}, intracranial volume {1e6 * person.icv:.0f} mL")

# A card of the library, coarser than the original so that this takes seconds: same times, smaller matrix.
scanner = load_scanner("siemens-prisma-3t")
card = load_protocol("onharmony-prisma-t1w-mprage").at_resolution(4e-3)
write_seq("scan.seq", card, scanner)

# One visit: where the head lies, how well the transmitter is calibrated. One seed each for visit and noise.
visit = draw_session(scanner, np.random.default_rng(1), pivot=np.zeros(3))
raw = simulate(
    head, read_seq("scan.seq"), scanner, card.prescription(), rng=np.random.default_rng(2), session=visit
)
write_ismrmrd("scan.h5", raw)
print(f"scan.h5: {len(raw.data)} readouts of {raw.channels} coils")

# From here on nothing is known of the simulator.
image = reconstruct(read_raw("scan.h5"))
write_nifti("scan.nii.gz", image)
print(f"scan.nii.gz: {' x '.join(map(str, image.data.shape))} voxels, {', '.join(image.meta['notes'])}")


def show(ax, volume, affine, axis, window):
    """One slice through a point of the world [m], in millimetres of the world, superior or anterior up."""
    index = np.rint(np.linalg.solve(affine, [0.0, -0.02, 0.01, 1.0])[:3]).astype(int)
    across, up = [a for a in range(3) if a != axis]
    low = affine @ [-0.5, -0.5, -0.5, 1.0]
    high = affine @ [*(n - 0.5 for n in volume.shape), 1.0]
    ax.imshow(
        volume.take(index[axis], axis=axis).T, cmap="gray", origin="lower", vmin=0, vmax=window,
        extent=(1e3 * low[across], 1e3 * high[across], 1e3 * low[up], 1e3 * high[up]),
    )  # fmt: skip
    ax.set(xlim=(-115, 115), ylim=(-115, 115))
    ax.set_axis_off()


grey = head.fraction("gm", "cerebellar_gm", "thalamus", "caudate", "putamen", "hippocampus", "amygdala")
tissue = grey + 2 * head.fraction("wm", "cerebellar_wm", "brainstem")
middle = tuple(slice(n // 3, 2 * n // 3) for n in image.data.shape)
rows = (
    ("true grey and white matter", tissue, visit.pose.matrix @ head.affine, 2.0),
    # The window of the brain: subcutaneous fat, which nothing suppresses here, is much brighter.
    ("image", image.data, image.affine, 1.2 * np.percentile(image.data[middle], 99)),
)
fig, axes = plt.subplots(2, 3, figsize=(9, 6.2), facecolor="black", layout="constrained")
for row, (name, volume, affine, window) in zip(axes, rows, strict=True):
    for axis, ax in enumerate(row):
        show(ax, volume, affine, axis, window)
    row[0].set_title(name, color="white", loc="left")
fig.savefig("scan.png", dpi=110)
