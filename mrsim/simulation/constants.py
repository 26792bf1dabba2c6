"""Physical constants, SI, with their source."""

GAMMA_BAR = 42.577478518e6
"""Proton gyromagnetic ratio over 2 pi [Hz/T], CODATA 2018."""

MU_0 = 1.25663706212e-6
"""Vacuum permeability [T m/A], CODATA 2018."""

BOLTZMANN = 1.380649e-23
"""Boltzmann constant [J/K], exact."""

HBAR = 1.054571817e-34
"""Reduced Planck constant [J s], exact to the digits shown."""

AVOGADRO = 6.02214076e23
"""Avogadro constant [1/mol], exact."""

BODY_TEMPERATURE = 310.15
"""Temperature of the sample [K]."""

PROTONS_PER_M3 = 2 * AVOGADRO * 993.3 / 18.01528e-3
"""Protons of one cubic metre of pure water at 37 degrees Celsius (density 993.3 kg/m3)."""
