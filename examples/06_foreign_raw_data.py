"""Reconstruct somebody else's ISMRMRD file: ``python 06_foreign_raw_data.py FILE.h5 [OUT.nii.gz]``.

The reconstruction reads files of any origin and refuses what it cannot sort into the k-space that the header
describes, with a reason.
"""

import sys
from pathlib import Path

from recon import RawDataError, read_raw, reconstruct, write_nifti

if len(sys.argv) < 2:
    print("nothing to do: give an ISMRMRD file (.h5, .mrd)")
    sys.exit(0)

source = Path(sys.argv[1])
target = Path(sys.argv[2] if len(sys.argv) > 2 else source.stem + ".nii.gz")
try:
    raw = read_raw(source)
    image = reconstruct(raw)
except RawDataError as error:
    sys.exit(f"cannot reconstruct: {error}")

header = raw.header
print(f"{header.vendor} {header.model}, {header.field_strength or 0:.2f} T, {len(raw.heads)} readouts")
write_nifti(target, image)
print(f"{target}: {' x '.join(map(str, image.data.shape))} voxels")
for note in image.meta["notes"]:
    print("  " + note)
