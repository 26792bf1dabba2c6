"""Bring your own harmonizer: a class of a few lines with the suite that tests it, or any program.

The method: scale every image so that its median equals the median that the sites have in common.
"""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from mrsim.harmonizers import Capabilities, ImageHarmonizer, check_harmonizer, run_program


class MedianScaling(ImageHarmonizer):
    """Scale the median inside the mask to the mean of the medians seen in ``fit``."""

    capabilities = Capabilities(needs_site_labels=False, handles_unseen_site=True)

    def _learn(self, volumes):
        self.target_ = float(np.mean([np.median(volume.inside) for volume in volumes]))

    def _apply(self, volume):
        return volume.data * (self.target_ / np.median(volume.inside))


# No leak from transform into fit, input untouched, same bits twice, order of samples, errors that help, ...
for result in check_harmonizer(MedianScaling()):
    print(f"{result.status:8s} {result.name.replace('_', ' ')} {result.detail}")

# On images: anything that yields NIfTI images will do; here two sites with another receiver gain.
rng = np.random.default_rng(0)
anatomy = rng.gamma(8.0, 20.0, (12, 14, 10))
images = [nib.Nifti1Image((gain * anatomy).astype(np.float32), np.eye(4)) for gain in (1.0, 1.7)]
method = MedianScaling().fit(images, site=["oxford", "nottingham"])
after = [
    method.transform(image, site=site) for image, site in zip(images, ("oxford", "nottingham"), strict=True)
]
print("largest difference between the sites:", np.abs(after[0].get_fdata() - after[1].get_fdata()).max())

# A program of others, be it HACA3, IGUANe or a container, needs a BIDS folder and a command. Here a script
# stands in, which knows nothing of mrsim: its first argument is the dataset, its second the folder to fill.
for session, image in zip(("oxford", "nottingham"), images, strict=True):
    folder = Path("dataset", "sub-01", f"ses-{session}", "anat")
    folder.mkdir(parents=True)
    nib.save(image, folder / f"sub-01_ses-{session}_T1w.nii.gz")
Path("program.py").write_text("""
import sys
from pathlib import Path
import nibabel, numpy
source, out = map(Path, sys.argv[1:])
for path in source.glob("sub-*/**/*_T1w.nii.gz"):
    image = nibabel.load(path)
    target = out / path.relative_to(source)
    target.parent.mkdir(parents=True)
    scaled = image.get_fdata() / numpy.median(image.get_fdata())
    nibabel.save(nibabel.Nifti1Image(scaled, image.affine), target)
""")
# A container: ["docker", "run", "--rm", "-v", "{in}:/in:ro", "-v", "{out}:/out", "lab/haca3", "/in", "/out"]
# In a shell: mrsim harmonize external --in dataset --out done --command "python program.py {in} {out}"
made = run_program([sys.executable, "program.py", "{in}", "{out}"], "dataset", "harmonized", timeout=600)
one, other = (nib.load(path).get_fdata() for path in made)
print("by a program:", [path.name for path in made], "largest difference:", np.abs(one - other).max())
