"""Where sample files lie that are not part of the project."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2].parent / "shared"
FORMATS = SHARED / "reference" / "data" / "formats"
KOMA = FORMATS / "koma"
BIFTI = SHARED / "reference" / "data" / "bifti"
MNI = SHARED / "reference" / "data" / "bifti_mni2009a_2mm"
JEMRIS = SHARED / "refdata" / "jemris"


def needs(folder):
    return pytest.mark.skipif(
        not folder.is_dir(), reason=f"sample files are not at ../shared ({folder.name})"
    )
