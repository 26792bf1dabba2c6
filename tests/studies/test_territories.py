"""Regions are measured where they can be, not only where the template has them."""

import numpy as np

from mrsim.studies.stage_scan import REGIONS, territories
from phantoms import icbm152_head


def test_each_region_owns_its_place_and_rivals_share_the_rest():
    template = icbm152_head(4e-3)
    maps = dict(zip(REGIONS, territories(template), strict=True))
    for name, (members, _, _) in REGIONS.items():
        own = template.fraction(*members) > 0.7
        assert maps[name][own].mean() > 0.55, name
        assert maps[name].min() >= 0.0
        assert maps[name].max() <= 1.0 + 1e-6
    grey = maps["cortex"] + maps["deep_gm"] + maps["hippocampus"]
    assert grey.max() <= 1.0 + 1e-6


def test_csf_beside_the_ventricles_counts_as_ventricle():
    """8 mm outside the template's ventricles CSF still is mostly theirs; on the brain's surface it is not."""
    template = icbm152_head(4e-3)
    ventricles = territories(template)[list(REGIONS).index("ventricles")]
    inside = np.argwhere(template.fraction("ventricular_csf") > 0.9)
    top = inside[np.argmax(inside[:, 2])]
    assert ventricles[top[0], top[1], top[2] + 2] > 0.5
    surface = (template.fraction("csf") > 0.8) & (np.arange(template.shape[2]) > template.shape[2] * 0.75)
    assert ventricles[surface].mean() < 0.1
