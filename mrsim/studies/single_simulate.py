"""Simulating single scans from files: phantom and sequence to ISMRMRD, by either engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .problems import InputError, did_you_mean
from .single import finished_whole, need_file

if TYPE_CHECKING:
    from phantoms import Phantom, PointCloud
    from protocols import Prescription, Scanner
    from protocols import Sequence as PulseSequence

ENGINES = ("kspace", "bloch")
IDEAL_SCANNER = "ideal-3t"
_SHEPP_LOGAN_FOV = 0.22
_OLD_NAME = "shepp-logan"
"""Of the three-dimensional one, on a grid of even size and 0.22 m."""


@dataclass(frozen=True, kw_only=True)
class ExactChoices:
    """How the exact Bloch engine runs; None leaves a choice to the phantom and the sequence.

    spins_per_voxel : None = the default for objects with voxels, the file's points as they are for others;
    phase_convention : pulseq, jemris, or None = JEMRIS's for its own files, Pulseq's for all others;
    precision, diffusion, device, threads : as of `mrsim.simulation.bloch.BlochOptions`.
    """

    spins_per_voxel: int | None = None
    phase_convention: str | None = None
    precision: str = "single"
    diffusion: str = "none"
    device: str = "cpu"
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class ScanFiles:
    """What is scanned, and how.

    protocol, sequence : a card (name or path), or a Pulseq file; exactly one of them;
    scanner, phantom : name or path; no scanner: a perfect one (exact engine only);
    voxel_size : coarser images than the card's [m];  phantom_voxel_size : grid of a library phantom [m];
    soft_delays : values [s] of the sequence's soft delays;  allow_unsigned : play an unsigned Pulseq file.
    """

    protocol: str | None
    sequence: Path | None
    scanner: str | None
    phantom: str
    voxel_size: float | None = None
    phantom_voxel_size: float = 1e-3
    soft_delays: dict[str, float] = field(default_factory=dict)
    allow_unsigned: bool = False


def load_phantom_by_name(name: str, voxel_size: float) -> Phantom | PointCloud:
    """Return a phantom of the library, or from a file of any format that is understood.

    Parameters
    ----------
    name : str
        One of `phantoms.phantom_names`, ``shepp-logan``, or a path.
    voxel_size : float
        Grid of library phantoms [m].
    """
    from phantoms import make_phantom, phantom_names, read_phantom_file, shepp_logan_3d

    if name in phantom_names():
        return make_phantom(name, voxel_size=voxel_size)
    if name == _OLD_NAME:
        points = 2 * round(_SHEPP_LOGAN_FOV / voxel_size / 2)
        return shepp_logan_3d((points, points, points), voxel_size, _SHEPP_LOGAN_FOV)
    if not Path(name).suffix and not Path(name).exists():
        raise InputError.single(
            file=f"--phantom {name}",
            cause="is neither a phantom of the library nor a file",
            remedy=did_you_mean(name, phantom_names()),
        )
    return read_phantom_file(need_file(Path(name), "a phantom file (ours, KomaMRI, JEMRIS, BIfTI, ...)"))


def simulate_file(
    out: Path,
    files: ScanFiles,
    *,
    engine: str = "kspace",
    seed: int = 0,
    coils: int | None = None,
    noise: bool = True,
    exact: ExactChoices | None = None,
    progress: Callable[[float], None] | None = None,
    expect: Callable[[int, float], None] | None = None,
) -> dict[str, Any]:
    """Simulate one scan and write it as ISMRMRD.

    Parameters
    ----------
    out : Path
        HDF5 file to write.
    files : ScanFiles
    engine : {'kspace', 'bloch'}
    seed : int
        Of the receiver noise, of sub-voxel placement and of random walks.
    coils : int, optional
        Loops of the receive array; the scanner's number when absent.
    noise : bool
        Whether the receiver is noisy.
    exact : ExactChoices, optional
        Of the exact engine.
    progress : callable, optional
        Called with the share done (exact engine).
    expect : callable, optional
        Called before the work with the number of spins and the estimated time [s] (exact engine).

    Returns
    -------
    dict
        What was simulated, for people; ``notes`` are lines they should read.
    """
    import numpy as np

    from mrsim.simulation import SimulationOptions, write_ismrmrd

    if (files.protocol is None) == (files.sequence is None):
        raise InputError.single(file="--protocol, --sequence", cause="give exactly one of the two")
    if engine not in ENGINES:
        raise InputError.single(
            file="--engine", cause=f"must be one of {', '.join(ENGINES)}; got {engine!r}",
            remedy=did_you_mean(engine, ENGINES),
        )  # fmt: skip
    machine = _scanner(files, engine)
    played, prescription = _sequence(files, machine)
    body = load_phantom_by_name(files.phantom, files.phantom_voxel_size)
    options = SimulationOptions(channels=coils, noise=noise)
    rng = np.random.default_rng(seed)
    with finished_whole(out) as temporary:
        if engine == "bloch":
            choices = exact or ExactChoices()
            told = {"progress": progress, "expect": expect}
            raw = _exact(files, machine, played, prescription, body, options, choices, rng, told)
        else:
            raw = _kspace(files, machine, played, prescription, body, options, rng)
        write_ismrmrd(temporary, raw)
    report = raw.recipe["engine"]
    return {
        "scanner": machine.name, "phantom": body.name, "sequence": files.protocol or str(files.sequence),
        "seed": seed, "notes": report.get("notes", []), "report": report,
    }  # fmt: skip


def _scanner(files: ScanFiles, engine: str) -> Scanner:
    from protocols import load_scanner

    if files.scanner is None and engine == "kspace":
        raise InputError.single(
            file="--scanner", cause="is required by the k-space engine",
            remedy="Give one of 'mrsim list scanners', or use --engine bloch for a perfect machine.",
        )  # fmt: skip
    return load_scanner(files.scanner or IDEAL_SCANNER)


def _kspace(
    files: ScanFiles, machine: Scanner, played: PulseSequence, prescription: Prescription,
    body: Phantom | PointCloud, options: Any, rng: Any,
) -> Any:  # fmt: skip
    from mrsim.simulation import simulate
    from phantoms import Phantom

    if not isinstance(body, Phantom):
        raise InputError.single(
            file=files.phantom, cause="is a cloud of spins; the k-space engine needs maps of tissues",
            remedy="Use --engine bloch, or 'mrsim phantom convert' to .h5 where it is of few tissues.",
        )  # fmt: skip
    return simulate(body, played, machine, prescription, rng=rng, options=options)


def _exact(
    files: ScanFiles, machine: Scanner, played: PulseSequence, prescription: Prescription,
    body: Phantom | PointCloud, options: Any, exact: ExactChoices, rng: Any,
    told: dict[str, Any],
) -> Any:  # fmt: skip
    from dataclasses import replace

    from mrsim.simulation.bloch import BlochOptions, simulate_bloch
    from phantoms import Phantom

    on_grid = isinstance(body, Phantom)
    if files.scanner is None and on_grid:
        # A perfect machine: no fields, one coil that receives everything, nothing to be noisy.
        options = replace(options, b0=False, b1=False, coils=False, noise=False)
    spins = exact.spins_per_voxel
    choices: dict[str, Any] = {
        "spins_per_voxel": _default_spins(files, played, prescription, body) if spins is None else spins,
        "phase_convention": exact.phase_convention or _phase_convention(files, body),
        "precision": exact.precision,
        "diffusion": exact.diffusion,
        "device": exact.device,
        "threads": exact.threads,
    }
    bloch = BlochOptions(**choices)
    return simulate_bloch(body, played, machine, prescription, rng=rng, options=options, bloch=bloch, **told)


def _default_spins(
    files: ScanFiles, played: PulseSequence, prescription: Prescription, body: Phantom | PointCloud
) -> int:
    """Spins per voxel: enough for an object made of voxels; the points themselves for a list of spins.

    A JEMRIS sample is both. JEMRIS takes its points as isochromats, so they stay what they are with a
    sequence of JEMRIS or one that leaves no dephasing; with others they are voxels.
    """
    import numpy as np

    from mrsim.simulation.bloch import recommended_spins, winding
    from phantoms import Phantom

    axes = np.stack([prescription.read_dir, prescription.phase_dir, prescription.slice_dir], axis=1)
    rotation = np.asarray(axes, float)
    if isinstance(body, Phantom):
        t2 = np.array([p.t2 for p in body.properties(3.0)])
        amount = np.array([float(f.sum()) for f in body.fractions])
        return recommended_spins(body.affine[:3, :3], t2, amount, played, rotation)
    if body.voxel is None:
        return 1
    literal = _written_by_jemris(files) or winding(body.voxel, played, rotation) < 0.1
    if body.source.get("format") == "jemris-sample" and literal:
        return 1
    return recommended_spins(body.voxel, body.t2, body.m0, played, rotation)


def _phase_convention(files: ScanFiles, body: Phantom | PointCloud) -> str:
    """JEMRIS's sense of phases for its own samples and sequences, Pulseq's for all others."""
    source = getattr(body, "source", {})
    jemris = source.get("format") == "jemris-sample" or _written_by_jemris(files)
    return "jemris" if jemris else "pulseq"


def _written_by_jemris(files: ScanFiles) -> bool:
    if files.sequence is None:
        return False
    with files.sequence.open("rb") as file:
        return b"Created by JEMRIS" in file.read(400)


def _sequence(files: ScanFiles, scanner: Scanner) -> tuple[PulseSequence, Prescription]:
    import tempfile

    from protocols import load_protocol, read_seq, write_seq

    if files.sequence is not None:
        return _pulseq(files.sequence, files)
    if files.soft_delays:
        raise InputError.single(file="--soft-delay", cause="needs --sequence; cards have no soft delays")
    card = load_protocol(str(files.protocol))
    if files.voxel_size is not None:
        card = card.at_resolution(files.voxel_size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sequence.seq"
        write_seq(path, card, scanner)
        return read_seq(path), card.prescription()


def _pulseq(path: Path, files: ScanFiles) -> tuple[PulseSequence, Prescription]:
    """Read a Pulseq file and where it lies."""
    import numpy as np

    from protocols import Prescription, SeqFileError, read_seq

    need_file(path, "a Pulseq file (.seq)")
    try:
        played = read_seq(path, allow_unsigned=files.allow_unsigned, soft_delays=files.soft_delays or None)
    except SeqFileError as error:
        text = str(error).replace("pass allow_unsigned=True", "use --allow-unsigned")
        text = text.replace("Pass allow_unsigned=True", "Use --allow-unsigned")
        raise InputError.single(file=str(path), cause=text) from error
    # Our own files say where they lie; others are played axially at the isocentre.
    places = {"ReadDirection": (1, 0, 0), "PhaseDirection": (0, 1, 0), "SliceDirection": (0, 0, 1)}
    x, y, z = (
        np.asarray(played.definitions.get(name, axial), dtype=np.float64) for name, axial in places.items()
    )
    center = np.asarray(played.definitions.get("Center", (0, 0, 0)), dtype=np.float64)
    return played, Prescription(read_dir=x, phase_dir=y, slice_dir=z, center=center)
