"""A small study and fake libraries for it."""

import copy
from pathlib import Path

GOOD = {
    "study": {"name": "tiny", "seed": 3, "reference_scanner": "a"},
    "cohort": {"subjects": 2},
    "scanners": [{"name": "sa", "label": "a"}, {"name": "sb", "label": "b", "repeats": 2}],
    "protocols": [{"contrast": "T1w"}, {"contrast": "FLAIR", "cards": {"b": "other"}}],
    "harmonizers": [{"name": "blur"}, {"name": "combat"}],
}

GOOD_TOML = """
[study]
name = "tiny"
seed = 3
reference_scanner = "a"
[cohort]
subjects = 2
[[scanners]]
name = "sa"
label = "a"
[[scanners]]
name = "sb"
label = "b"
repeats = 2
[[protocols]]
contrast = "T1w"
[[protocols]]
contrast = "FLAIR"
cards = {b = "other"}
[[harmonizers]]
name = "blur"
[[harmonizers]]
name = "combat"
"""


def good():
    return copy.deepcopy(GOOD)


def write_study(folder: Path, text: str = GOOD_TOML) -> Path:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


class FakeLibraries:
    """Two scanners with a native card per contrast."""

    def names(self, kind):
        return {
            "scanners": ("sa", "sb"),
            "protocols": ("sa-T1w", "sa-FLAIR", "sb-T1w", "other"),
            "harmonizers": ("blur", "combat"),
            "phantoms": ("icbm152",),
            "studies": (),
        }[kind]

    def scanner(self, name, overrides):
        if "wrong" in overrides:
            raise ValueError("a scanner has no 'wrong'")
        return {
            "name": name,
            "manufacturer": "Maker",
            "model": name.upper(),
            "field": {"f0": 123e6},
            **overrides,
        }

    def card(self, name, voxel_size):
        return {"name": name, "voxel_size": voxel_size}

    def native_cards(self, scanner, contrast):
        return tuple(name for name in self.names("protocols") if name == f"{scanner}-{contrast}")

    def harmonizer_kind(self, name):
        return "image" if name == "blur" else "feature"

    def harmonizer(self, name, params):
        if set(params) - {"fwhm"}:
            raise ValueError(f"{name} has no parameter {sorted(set(params) - {'fwhm'})[0]!r}")
        return {"fwhm": 1.0} | dict(params)

    def capabilities(self, name, params):
        return {
            "handles_unseen_site": name == "blur", "needs_pairs": False, "needs_traveling_subjects": False
        }  # fmt: skip
