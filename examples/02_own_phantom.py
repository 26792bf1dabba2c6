"""Bring your own phantom: any label map becomes a head that can be scanned.

Give a NIfTI label map (``python 02_own_phantom.py labels.nii.gz``) and say what its labels are made of in
TISSUES. Without an argument the script makes one: the packaged head with a lesion in the white matter, whose
tissue is in no table. The phantom is saved to lesion.h5, scanned, and shown in lesion.png.
"""

import sys

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np

from mrsim.simulation import simulate, write_ismrmrd
from phantoms import (
    Phantom,
    TissueProperties,
    TissueTable,
    default_tissue_table,
    icbm152_head,
    load_phantom,
    save_phantom,
)
from protocols import load_protocol, load_scanner, read_seq, write_seq
from recon import read_raw, reconstruct

# Label -> tissue. Tissues of the table know their values at every field; yours need one set of values.
TISSUES = {1: "csf", 2: "gm", 3: "wm", 4: "skull", 5: "skin", 6: "lesion"}
LESION = TissueProperties(name="lesion", t1=1.35, t2=0.14, pd=0.85, adc=1.2e-9, sources={"t1": "made up"})
TABLE = TissueTable(curves={**default_tissue_table().curves, **TissueTable.uniform(LESION).curves})


def make_label_map(path):
    """Write the packaged head as labels, with a lesion of 9 mm radius."""
    head = icbm152_head(2e-3)
    groups = [
        head.fraction("csf", "ventricular_csf"),
        head.fraction("gm", "cerebellar_gm", "thalamus", "caudate", "putamen", "hippocampus", "amygdala"),
        head.fraction("wm", "cerebellar_wm", "brainstem", "pallidum"),
        head.fraction("skull", "marrow"),
        head.fraction("skin", "fat", "muscle"),
    ]
    filled = np.stack(groups)
    labels = np.where(filled.sum(axis=0) > 0.5, 1 + filled.argmax(axis=0), 0)
    x, y, z = (
        head.affine @ np.append(np.indices(head.shape).reshape(3, -1).T, np.ones((labels.size, 1)), 1).T
    )[:3]
    inside = (x - 0.026) ** 2 + (y + 0.02) ** 2 + (z - 0.03) ** 2 < 0.009**2
    labels[inside.reshape(head.shape)] = 6
    millimetres = np.diag([1e3, 1e3, 1e3, 1.0]) @ head.affine
    nib.save(nib.Nifti1Image(labels.astype(np.int16), millimetres), path)


def phantom_from_labels(path):
    """Read a label map in NIfTI: one fraction map of zeros and ones for each tissue."""
    image = nib.as_closest_canonical(nib.load(path))
    labels = np.asarray(image.dataobj).astype(np.int16)
    return Phantom(
        name="lesion",
        tissues=tuple(TISSUES.values()),
        fractions=np.stack([labels == label for label in TISSUES]).astype(np.float32),
        affine=np.diag([1e-3, 1e-3, 1e-3, 1.0]) @ image.affine,
        table=TABLE,
        labels=labels,
        regions=TISSUES,
    )


path = sys.argv[1] if len(sys.argv) > 1 else "labels.nii.gz"
if len(sys.argv) == 1:
    make_label_map(path)
phantom = phantom_from_labels(path)
save_phantom("lesion.h5", phantom)  # also for: mrsim simulate --phantom lesion.h5 ...
for name, volume in load_phantom("lesion.h5").volumes().items():
    print(f"{name:8s} {1e6 * volume:7.1f} mL")

scanner = load_scanner("siemens-prisma-3t")
fig, axes = plt.subplots(1, 2, figsize=(7, 4), facecolor="black", layout="constrained")
for ax, name in zip(axes, ("onharmony-prisma-t1w-mprage", "onharmony-prisma-flair-space"), strict=True):
    card = load_protocol(name).at_resolution(4e-3)
    write_seq("scan.seq", card, scanner)
    raw = simulate(phantom, read_seq("scan.seq"), scanner, card.prescription(), rng=np.random.default_rng(1))
    write_ismrmrd("scan.h5", raw)
    image = reconstruct(read_raw("scan.h5"))
    level = int(np.linalg.solve(image.affine, [0, 0, 0.03, 1])[2].round())
    picture = image.data[:, :, level].T
    ax.imshow(picture, cmap="gray", origin="lower", vmax=np.percentile(picture, 99), aspect="equal")
    ax.set_title(card.suffix, color="white")
    ax.set_axis_off()
fig.savefig("lesion.png", dpi=110)
