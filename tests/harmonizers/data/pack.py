"""Packs tables and R's outputs: ``python pack.py FOLDER variants.npz``, FOLDER as variants.R left it."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

if __name__ == "__main__":
    folder, out = map(Path, sys.argv[1:])
    made = {
        path.stem: np.loadtxt(path, delimiter=",")
        for path in sorted(folder.glob("*.csv"))
        if path.stem not in ("covariates", "features")
    }
    people = pd.read_csv(folder / "covariates.csv")
    columns = {f"covariates/{name}": people[name].to_numpy() for name in people}
    text = {
        key: column.astype(str) if column.dtype.kind == "O" else column for key, column in columns.items()
    }
    made["features"] = np.loadtxt(folder / "features.csv", delimiter=",", skiprows=1)
    np.savez_compressed(out, **text, **made)
