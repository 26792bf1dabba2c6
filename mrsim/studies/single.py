"""Simulating and reconstructing single scans: ISMRMRD and NIfTI files."""

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .problems import InputError, did_you_mean

if TYPE_CHECKING:
    from phantoms import Phantom
    from protocols import Prescription, Scanner
    from protocols import Sequence as PulseSequence

PHANTOM_NAMES = ("icbm152", "shepp-logan")
_SHEPP_LOGAN_FOV = 0.22


@contextmanager
def finished_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` that becomes `path` only if the block succeeds."""
    if not path.absolute().parent.is_dir():
        raise InputError.single(
            file=str(path),
            cause=f"folder {str(path.absolute().parent)!r} does not exist",
            remedy="Make it first.",
        )
    if path.is_dir() and any(path.iterdir()):
        raise InputError.single(
            file=str(path), cause="is a folder that is not empty", remedy="Give another --out."
        )
    temporary = path.with_name(f".{secrets.token_hex(6)}.{path.name}")
    try:
        yield temporary
        if path.is_dir():
            path.rmdir()
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def need_file(path: Path, what: str) -> Path:
    """Refuse a path that is not a file; nothing is guessed."""
    if not path.is_file():
        cause = "is a folder, not a file" if path.is_dir() else "no such file"
        raise InputError.single(file=str(path), cause=cause, remedy=f"Give {what}.")
    return path


def load_phantom_by_name(name: str, voxel_size: float) -> "Phantom":
    """Return a phantom of the library, or from a file that `phantoms.save_phantom` wrote.

    Parameters
    ----------
    name : str
        ``icbm152``, ``shepp-logan``, or a path.
    voxel_size : float
        Grid of library phantoms [m].
    """
    from phantoms import icbm152_head, load_phantom, shepp_logan_3d

    if name == "icbm152":
        return icbm152_head(voxel_size)
    if name == "shepp-logan":
        points = 2 * round(_SHEPP_LOGAN_FOV / voxel_size / 2)
        return shepp_logan_3d((points, points, points), voxel_size, _SHEPP_LOGAN_FOV)
    if Path(name).suffix not in {".h5", ".hdf5"} and not Path(name).exists():
        raise InputError.single(
            file=f"--phantom {name}",
            cause="is neither a phantom of the library nor a file",
            remedy=did_you_mean(name, PHANTOM_NAMES),
        )
    return load_phantom(need_file(Path(name), "a phantom file (HDF5)"))


def simulate_file(
    out: Path,
    *,
    protocol: str | None,
    sequence: Path | None,
    scanner: str,
    phantom: str,
    voxel_size: float | None = None,
    phantom_voxel_size: float = 1e-3,
    seed: int = 0,
    coils: int | None = None,
    noise: bool = True,
) -> dict[str, Any]:
    """Simulate one scan and write it as ISMRMRD.

    Parameters
    ----------
    out : Path
        HDF5 file to write.
    protocol, sequence
        A card (name or path), or a Pulseq file; exactly one of them.
    scanner : str
        Name or path.
    phantom : str
        Name or path.
    voxel_size : float, optional
        Coarser images than the card's [m].
    phantom_voxel_size : float
        Grid of a library phantom [m].
    seed : int
        Of the receiver noise.
    coils : int, optional
        Loops of the receive array; the scanner's number when absent.
    noise : bool
        Whether the receiver is noisy.

    Returns
    -------
    dict
        What was simulated, for people.
    """
    import numpy as np

    from mrsim.simulation import SimulationOptions, simulate, write_ismrmrd
    from protocols import load_scanner

    if (protocol is None) == (sequence is None):
        raise InputError.single(file="--protocol, --sequence", cause="give exactly one of the two")
    machine = load_scanner(scanner)
    played, prescription = _sequence(protocol, sequence, machine, voxel_size)
    head = load_phantom_by_name(phantom, phantom_voxel_size)
    options = SimulationOptions(channels=coils, noise=noise)
    with finished_whole(out) as temporary:
        raw = simulate(head, played, machine, prescription, rng=np.random.default_rng(seed), options=options)
        write_ismrmrd(temporary, raw)
    return {
        "scanner": machine.name,
        "phantom": head.name,
        "sequence": protocol or str(sequence),
        "seed": seed,
    }


def _sequence(
    protocol: str | None, sequence: Path | None, scanner: "Scanner", voxel_size: float | None
) -> tuple["PulseSequence", "Prescription"]:
    import tempfile

    import numpy as np

    from protocols import Prescription, load_protocol, read_seq, write_seq

    if sequence is not None:
        played = read_seq(need_file(sequence, "a Pulseq file (.seq)"))
        # Our own files say where they lie; others are played axially at the isocentre.
        places = {"ReadDirection": (1, 0, 0), "PhaseDirection": (0, 1, 0), "SliceDirection": (0, 0, 1)}
        x, y, z = (
            np.asarray(played.definitions.get(name, axial), dtype=np.float64)
            for name, axial in places.items()
        )
        center = np.asarray(played.definitions.get("Center", (0, 0, 0)), dtype=np.float64)
        return played, Prescription(read_dir=x, phase_dir=y, slice_dir=z, center=center)
    card = load_protocol(str(protocol))
    if voxel_size is not None:
        card = card.at_resolution(voxel_size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sequence.seq"
        write_seq(path, card, scanner)
        return read_seq(path), card.prescription()


def recon_file(raw: Path, out: Path, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Reconstruct a raw data file to NIfTI and sidecar.

    Parameters
    ----------
    raw : Path
        ISMRMRD file of any origin.
    out : Path
        ``.nii`` or ``.nii.gz``; the sidecar gets the same stem and ``.json``.
    choices : mapping
        Fields of `recon.ReconOptions`; None leaves the default.

    Returns
    -------
    dict
        Shape and voxel size [mm] of the image.
    """
    from recon import ReconOptions, read_raw, reconstruct, write_nifti

    if not out.name.endswith((".nii", ".nii.gz")):
        raise InputError.single(
            file=str(out), cause="must end in .nii or .nii.gz", remedy="Give another --out."
        )
    if not out.absolute().parent.is_dir():
        raise InputError.single(file=str(out), cause="its folder does not exist", remedy="Make it first.")
    options: ReconOptions = ReconOptions(
        **{key: value for key, value in choices.items() if value is not None}
    )
    image = reconstruct(read_raw(need_file(raw, "an ISMRMRD file (.h5, .mrd)")), options)
    write_nifti(out, image)
    size = [1e3 * float((image.affine[:3, axis] ** 2).sum() ** 0.5) for axis in range(3)]
    return {"shape": image.data.shape, "voxel_size_mm": [round(edge, 3) for edge in size]}
