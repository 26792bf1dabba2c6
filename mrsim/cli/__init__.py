"""The command line: ``mrsim VERB``."""


def main() -> None:
    """Run the command line and leave with its exit code.

    0 all done; 1 some cells failed (the report still comes and names them); 2 bad input, nothing was written;
    3 interrupted, run again to resume.
    """
    from .app import app

    app()
