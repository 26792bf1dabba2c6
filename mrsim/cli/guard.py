"""Exit codes and error lines: what a person sees when something is wrong."""

import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 3
_DEBUG_VARIABLE = "MRSIM_DEBUG"


def set_debug(value: bool) -> bool:
    """Remember ``--debug`` for this process and its workers."""
    if value:
        os.environ[_DEBUG_VARIABLE] = "1"
    return value


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return os.environ.get(_DEBUG_VARIABLE) == "1"


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn exceptions of a command into lines on standard error and an exit code."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            say("interrupted")
            raise SystemExit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output is gone (| head): no error of ours.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None
        except (ValueError, OSError) as error:
            if debugging():
                raise
            for line in _lines(error):
                say(line)
            raise SystemExit(BAD_INPUT) from None
        except Exception as error:
            if debugging() or type(error).__module__.startswith(("typer", "click")):
                raise
            text = " ".join(str(error).split())
            say(f"unexpected {type(error).__name__}: {text}. --debug shows the traceback.")
            raise SystemExit(FAILED) from None

    return wrapper


def say(line: str) -> None:
    """Write one line to standard error, in red on a terminal."""
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        print(f"\x1b[31m{line}\x1b[0m", file=sys.stderr)
    else:
        print(line, file=sys.stderr)


def _lines(error: ValueError | OSError) -> list[str]:
    """One line per problem; an error without problems of its own is one line."""
    problems = getattr(error, "problems", None)
    if problems:
        return [str(problem) for problem in problems]
    if isinstance(error, OSError) and error.filename:
        return [f"{error.filename}: {error.strerror}"]
    return [" ".join(str(error).split()) or type(error).__name__]
