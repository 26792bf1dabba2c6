"""One tool harmonizes one table in a fresh process; prints CPU seconds (import included) and peak memory.

``python harmonize_table.py TOOL FOLDER``: FOLDER holds features.npy (n, p), site.npy and covariates.npy
(age, sex); some harmonized columns are written to TOOL.npy. The tool's own package is all that it imports.
"""

import json
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np


def mrsim(X, site, covariates):
    from mrsim.harmonizers import ComBat

    return ComBat().fit_transform(X, site=site, covariates=covariates)


def mrsim_gam(X, site, covariates):
    from mrsim.harmonizers import ComBatGAM

    return ComBatGAM("covariate0").fit_transform(X, site=site, covariates=covariates)


def neurocombat(X, site, covariates):
    import pandas as pd
    from neuroCombat import neuroCombat

    frame = pd.DataFrame(covariates, columns=["age", "sex"]).assign(site=site)
    made = neuroCombat(
        dat=X.T, covars=frame, batch_col="site", categorical_cols=["sex"], continuous_cols=["age"]
    )
    return made["data"].T


def neuroharmonize(X, site, covariates):
    return _neuroharmonize(X, site, covariates, [])


def neuroharmonize_gam(X, site, covariates):
    return _neuroharmonize(X, site, covariates, ["age"])


def _neuroharmonize(X, site, covariates, smooth):
    import pandas as pd
    from neuroHarmonize import harmonizationLearn

    frame = pd.DataFrame(covariates, columns=["age", "sex"]).assign(SITE=site)
    return harmonizationLearn(X, frame, smooth_terms=smooth)[1]


def peak_bytes() -> int:
    """Peak resident memory of this process; getrusage would count what its parent held at the fork."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(tool: str, folder: Path) -> None:
    X = np.load(folder / "features.npy")
    site = np.load(folder / "site.npy").tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = globals()[tool](X, site, np.load(folder / "covariates.npy"))
    seconds, peak = time.process_time(), peak_bytes()
    np.save(folder / f"{tool}.npy", made[:, :: max(1, made.shape[1] // 50)])
    print("\n" + json.dumps({"cpu_seconds": seconds, "peak_bytes": peak}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
