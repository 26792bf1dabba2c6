"""Speed and memory of mrsim, measured beside a bound or a peer on the same job: ``make bench``."""
