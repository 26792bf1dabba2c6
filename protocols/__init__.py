"""Pulse sequences, scanners and exam cards: what is played, on which machine.

`build` and `write_seq` make Pulseq sequences from a `Protocol` for a `Scanner`; `read_seq` reads any
Pulseq file 1.2 to 1.5 into a `Sequence`.
"""

from .btensor import b_tensors, volume_b_tensors
from .cards.contrasts import Echoes, RefocusingDesign, Series
from .cards.protocol import Prescription, Protocol, list_protocols, load_protocol
from .cards.series import series_cards
from .cards.settings import Acceleration, Geometry, Readout, Rf, Selection, Timing
from .cards.settings_epi import Diffusion, Epi, Trajectory
from .diffusion_directions import even_directions, fsl_directions, read_fsl, write_fsl
from .families.builder import build, build_with_report, timing_errors, write_seq
from .families.composer import BuildError
from .families.refocusing import effective_te, te_for_effective
from .families.report import BuildReport
from .pulseq.continuity import gradient_jumps
from .pulseq.reader import read_seq
from .pulseq.seqfile import SeqFileError
from .pulses import rf_steps
from .records import Provenance, RecordError
from .scanners.coil import CoilHarmonic, GradientCoil, list_coils, load_coil
from .scanners.scanner import EddyTerm, GradientResponse, Scanner, Stability, list_scanners, load_scanner
from .sequence import (
    GAMMA_BAR,
    AdcEvent,
    GradEvent,
    RfEvent,
    Sequence,
    SequenceError,
    Signature,
    gradient_area,
    gradient_integral,
    infer_use,
)

__all__ = [
    "GAMMA_BAR",
    "Acceleration",
    "AdcEvent",
    "BuildError",
    "BuildReport",
    "CoilHarmonic",
    "Diffusion",
    "Echoes",
    "EddyTerm",
    "Epi",
    "Geometry",
    "GradEvent",
    "GradientCoil",
    "GradientResponse",
    "Prescription",
    "Protocol",
    "Provenance",
    "Readout",
    "RecordError",
    "RefocusingDesign",
    "Rf",
    "RfEvent",
    "Scanner",
    "Selection",
    "SeqFileError",
    "Sequence",
    "SequenceError",
    "Series",
    "Signature",
    "Stability",
    "Timing",
    "Trajectory",
    "b_tensors",
    "build",
    "build_with_report",
    "effective_te",
    "even_directions",
    "fsl_directions",
    "gradient_area",
    "gradient_integral",
    "gradient_jumps",
    "infer_use",
    "list_coils",
    "list_protocols",
    "list_scanners",
    "load_coil",
    "load_protocol",
    "load_scanner",
    "read_fsl",
    "read_seq",
    "rf_steps",
    "series_cards",
    "te_for_effective",
    "timing_errors",
    "volume_b_tensors",
    "write_fsl",
    "write_seq",
]
