"""A whole cohort on disk: made in parallel, taken up where it stopped, the same bytes in any order."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from .cohort import CohortSpec
from .design import CohortError
from .people import Subject, planted_effects, sample_cohort

FORMAT = "mrsim-cohort"
VERSION = 2


def generate_cohort(
    spec: CohortSpec,
    folder: str | Path,
    *,
    head: str | Path | None = None,
    voxel_size: float | None = None,
    fibres: bool = False,
    workers: int = 1,
    progress: Callable[[str], None] | None = None,
) -> list[Path]:
    """Make all subjects of a cohort as phantom files, and what is true of them as tables.

    Each file holds the map from the head as well (`Phantom.transform`). It depends on the description, the
    head and the voxel size only, not on the order or the number of workers. Files that exist are kept,
    provided that the folder was begun with the same description; each appears under its name only when
    complete.

    Parameters
    ----------
    spec : CohortSpec
        Description.
    folder : str or Path
        Gets ``cohort.json`` (description and planted effects), ``participants.tsv`` (one row per subject and
        visit: the prescribed truth), ``truth.tsv`` (achieved volumes) and one ``.h5`` file per row.
    head : str or Path, optional
        Phantom file of the head; the packaged one by default.
    voxel_size : float, optional
        Voxel size [m]; the head's by default.
    fibres : bool
        Whether subjects carry fibres.
    workers : int
        Processes. Each takes the memory of one subject.
    progress : callable, optional
        Called with the identifier of each finished subject.

    Returns
    -------
    list of Path
        The phantom files, in the order of the table.

    Raises
    ------
    CohortError
        If the folder holds another cohort, or `workers` is not positive.
    """
    if workers < 1:
        raise CohortError(f"workers must be 1 or more; got {workers}.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    people = sample_cohort(spec)
    source = None if head is None else Path(head).resolve()
    _begin(spec, folder, source, voxel_size, fibres)
    _write(folder / "participants.tsv", _table([s.row() for s in people]))
    todo = [s for s in people if not (folder / file_name(s)).is_file()]
    for name in _made(todo, folder, source, voxel_size, fibres, workers):
        if progress is not None:
            progress(name)
    paths = [folder / file_name(s) for s in people]
    _write(folder / "truth.tsv", _table([_achieved(p) for p in paths]))
    return paths


def file_name(subject: Subject) -> str:
    """Return the file of a subject: the identifier, and the visit from the second one on."""
    return f"{subject.id}.h5" if subject.visit == 0 else f"{subject.id}_visit-{subject.visit + 1}.h5"


def _made(
    todo: list[Subject], folder: Path, head: Path | None, voxel_size: float | None, fibres: bool, workers: int
) -> Iterator[str]:
    """Make the files and yield the names of the finished ones."""
    jobs = [(s, str(folder), None if head is None else str(head), voxel_size, fibres) for s in todo]
    if workers == 1 or len(jobs) < 2:
        yield from (_make(*job) for job in jobs)
        return
    # Fresh processes: forked ones would inherit the locks of this one's threads.
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(_make, *job) for job in jobs]
        try:
            for done in as_completed(waiting):
                yield done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


_HEADS: dict[str, Any] = {}


def _make(subject: Subject, folder: str, head: str | None, voxel_size: float | None, fibres: bool) -> str:
    """Make one file; in a worker, heads stay loaded between subjects."""
    from ..formats.io import load_phantom, save_phantom
    from .subject import make_subject

    if head is not None and head not in _HEADS:
        _HEADS[head] = load_phantom(head)
    source = None if head is None else _HEADS[head]
    made = make_subject(subject, source, voxel_size=voxel_size, fibres=fibres, keep_transform=True)
    name = file_name(subject)
    save_phantom(Path(folder) / name, made)
    return name


def _begin(spec: CohortSpec, folder: Path, head: Path | None, voxel_size: float | None, fibres: bool) -> None:
    """Write the description, or check that the folder was begun with the same one."""
    record = {
        "format": FORMAT,
        "version": VERSION,
        "spec": asdict(spec),
        "head": "icbm152" if head is None else hashlib.sha256(head.read_bytes()).hexdigest(),
        "voxel_size": voxel_size,
        "fibres": fibres,
        "planted": planted_effects(spec),
    }
    text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n"
    path = folder / "cohort.json"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise CohortError(
            f"{path}: must describe the same cohort to be continued; it differs. "
            "Take another folder, or delete this one."
        )
    _write(path, text)


def _achieved(path: Path) -> dict[str, Any]:
    """Return a row of what a subject's file holds."""
    import h5py

    with h5py.File(path, "r") as f:
        truth = json.loads(f["header"][()].tobytes())["truth"]
    thickness, lesions = truth["thickness"], truth.get("lesions", {})
    return {
        "participant_id": truth["id"],
        "visit": truth["visit"],
        "icv_ml": truth["icv_ml"],
        **{f"{k}_ml": v for k, v in truth["volumes_ml"].items()},
        "thickness_mm": "n/a" if thickness["measured_mm"] is None else thickness["measured_mm"],
        "thickness_ratio": thickness["expected_ratio"],
        "lesions_ml": lesions.get("volume_ml", 0.0),
        "lesion_count": lesions.get("count", 0),
        "jacobian_min": truth["deformation"]["jacobian_min"],
    }


def _table(rows: list[dict[str, Any]]) -> str:
    """Return rows as tab-separated text with floats that read back as the same numbers."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
