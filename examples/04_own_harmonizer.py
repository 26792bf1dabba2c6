"""Bring your own harmonizer: a class of a few lines, and the suite that says whether it keeps the contract.

The method: scale every image so that its median equals the median that the sites have in common.
"""

import nibabel as nib
import numpy as np

from mrsim.harmonizers import Capabilities, ImageHarmonizer, check_harmonizer


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
