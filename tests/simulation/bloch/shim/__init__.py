"""The GPU kernels on a CPU."""
