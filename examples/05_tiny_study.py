"""A whole study in a minute: three traveling subjects, two scanners, four harmonizers, one report.

The same as ``mrsim run study.toml --out study``, from Python. Run it twice: what is done is not done again.
"""

from pathlib import Path

from mrsim.studies import InstalledLibraries, RunOptions, prepare, run_study
from mrsim.studies.progress import choose_reporter
from mrsim.studies.stages import STAGES

STUDY = """
[study]
name = "three-subjects"
seed = 1
reference_scanner = "prisma"      # whose images are the target

[cohort]
subjects = 3
voxel_size_mm = 3.0               # grid of the heads, finer than the images

[[scanners]]
name = "siemens-prisma-3t"
label = "prisma"

[[scanners]]
name = "philips-ingenia-3t"
label = "ingenia"

[[protocols]]
contrast = "T1w"
voxel_size_mm = 4.0               # each scanner's own card, made coarser

[simulation]
coils = 4

[[harmonizers]]
name = "zscore"

[[harmonizers]]
name = "nyul"

[[harmonizers]]
name = "whitestripe"

[[harmonizers]]
name = "blur"                     # a control: it must never win

[evaluation]
bootstrap = 100
permutations = 20
"""


def main():
    study = Path("study.toml")
    study.write_text(STUDY)
    prepared = prepare(study, InstalledLibraries(), STAGES)
    print(f"{len(prepared.plan)} cells")
    result = run_study(prepared, Path("study"), STAGES, RunOptions(jobs=2), choose_reporter(quiet=True))
    print(f"{len(result.computed)} computed, {len(result.cached)} already done, {len(result.failed)} failed")
    for image in sorted(Path("study").glob("sub-*/ses-*/anat/*.nii.gz")):
        print(f"  {image.relative_to('study')}")
    print(f"report: {Path('study/report.html').resolve()}")


if __name__ == "__main__":  # the workers are processes that read this file too
    main()
