"""Reading a TOML file that somebody else wrote, with limits checked before it is parsed.

`tomllib` is safe in what it returns but not in what it costs: one dotted key of 100 KB takes gigabytes, and
deep nesting ends in a RecursionError. So size, line length and the number of parts of a dotted key are
bounded first.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

from .problems import InputError

MAX_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 10
MAX_KEY_PARTS = 16
MAX_DEPTH = 64

_OTHER_SUFFIXES = {".yaml": "YAML", ".yml": "YAML", ".json": "JSON", ".py": "Python"}
_YAML_START = re.compile(r"(?:\s*#[^\n]*\n|\s)*(?:---(?:\s|$)|%YAML)")
# Strings and comments, longest form first; what is left of a line is keys, numbers and punctuation.
_STRING_OR_COMMENT = re.compile(
    r'"""(?:\\.|[^\\])*?""""{0,2}'
    r"|'''.*?''''{0,2}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|(?P<comment>#[^\n]*)",
    re.DOTALL,
)
# Possessive quantifiers: no backtracking, so the check itself cannot be made slow.
_LONG_KEY = re.compile(rf"(?<![\w.-])[\w-]++(?:[ \t]*+\.[ \t]*+[\w-]++){{{MAX_KEY_PARTS},}}+", re.ASCII)
_POSITION = re.compile(r" \(at line (\d+), column (\d+)\)$")
_BARE_WORD = re.compile(r"=\s*(?![\d+-])(?!(?:true|false|inf|nan)\b)([A-Za-z][\w./ -]*)")
_LEADING_ZERO = re.compile(r"=\s*[+-]?0\d+")


def read_toml(path: Path | str, *, kind: str = "study") -> dict[str, Any]:
    """Read a TOML file under limits of size, line length, key parts and depth.

    Parameters
    ----------
    path : Path or str
        The file. A path that is not a file is an error; nothing is guessed.
    kind : str
        What the file is, for messages (``"study files are TOML"``).

    Returns
    -------
    dict
        The parsed tables.

    Raises
    ------
    InputError
        Naming the file, line and column, and the remedy.
    """
    path = Path(path)
    return parse_toml(_read_text(path, kind), name=str(path), kind=kind)


def parse_toml(text: str, *, name: str, kind: str = "study") -> dict[str, Any]:
    """Parse TOML text under the same limits; `name` stands for the file in messages."""
    text = text.removeprefix("\ufeff")
    if _YAML_START.match(text):
        raise InputError.single(
            file=name, place="line 1", cause=f"{kind} files are TOML; this looks like YAML"
        )
    _check_limits(text, name)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(error, text, name) from None
    except ValueError as error:  # integers of more than 4300 digits
        raise InputError.single(file=name, cause=f"not readable as TOML: {error}") from None
    except (RecursionError, MemoryError):
        raise InputError.single(
            file=name, cause=f"nested too deeply; at most {MAX_DEPTH} levels are read"
        ) from None
    _check_depth(data, name)
    return data


def _read_text(path: Path, kind: str) -> str:
    name = str(path)
    suffix = path.suffix.lower()
    if suffix in _OTHER_SUFFIXES:
        raise InputError.single(
            file=name,
            cause=f"{kind} files are TOML; this is a {_OTHER_SUFFIXES[suffix]} file, and it was not read",
            remedy="`mrsim init` writes a study to start from.",
        )
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "no such file"
        raise InputError.single(file=name, cause=what, remedy=f"Give the path of a {kind} file (TOML).")
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError.single(file=name, cause=f"cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise InputError.single(
            file=name, cause=f"larger than {MAX_BYTES // 1024} KiB; this is no {kind} file"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError.single(
            file=name, place=f"line {line}", cause="not UTF-8 text", remedy="Save the file as UTF-8."
        ) from None


def _check_limits(text: str, name: str) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > MAX_LINE_BYTES or len(line.encode()) > MAX_LINE_BYTES:
            raise InputError.single(
                file=name,
                place=f"line {number}",
                cause=f"longer than {MAX_LINE_BYTES} bytes",
                remedy="Break the line (arrays may span lines).",
            )
    bare = _STRING_OR_COMMENT.sub(_placeholder, text)
    match = _LONG_KEY.search(bare)
    if match:
        line_number = bare.count("\n", 0, match.start()) + 1
        raise InputError.single(
            file=name, place=f"line {line_number}", cause=f"a dotted key of more than {MAX_KEY_PARTS} parts"
        )


def _placeholder(match: re.Match[str]) -> str:
    """Keep line numbers; a string becomes one word, so that a quoted key part still counts as a part."""
    return ("" if match["comment"] else "_") + "\n" * match[0].count("\n")


def _check_depth(data: object, name: str) -> None:
    level: list[tuple[str, object]] = [("", data)]
    for _ in range(MAX_DEPTH + 1):
        level = [child for path, value in level for child in _children(path, value)]
        if not level:
            return
    raise InputError.single(
        file=name, place=level[0][0][:80], cause=f"nested too deeply; at most {MAX_DEPTH} levels are read"
    )


def _children(path: str, value: object) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [(f"{path}.{key}" if path else str(key), item) for key, item in value.items()]
    if isinstance(value, list):
        return [(f"{path}.{index}", item) for index, item in enumerate(value)]
    return []


def _syntax_error(error: tomllib.TOMLDecodeError, text: str, name: str) -> InputError:
    message = str(error)
    found = _POSITION.search(message)
    if not found:  # "(at end of document)"
        return InputError.single(
            file=name, place="end of file", cause=message.replace(" (at end of document)", "")
        )
    number, column = int(found[1]), int(found[2])
    lines = text.split("\n")
    line = lines[number - 1] if number <= len(lines) else ""
    cause, remedy = message[: found.start()], _syntax_remedy(line)
    if cause.startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate")):
        first = _first_definition(lines, number)
        cause = f"defined twice ({cause[0].lower()}{cause[1:]})"
        remedy = f"First defined in line {first}; keep one." if first else "Keep one definition."
    return InputError.single(file=name, place=f"line {number}, column {column}", cause=cause, remedy=remedy)


def _syntax_remedy(line: str) -> str:
    if _LEADING_ZERO.search(line):
        return "Numbers have no leading zeros; a label is text in quotes."
    word = _BARE_WORD.search(line)
    if word:
        return f'Text is quoted: "{word[1].strip()}". Truth values are true and false.'
    if re.match(r"\s*[\w-]+\s*:", line):
        return "This looks like YAML; study files are TOML: key = value."
    return ""


def _first_definition(lines: list[str], number: int) -> int | None:
    """Return the line of the earlier definition that line `number` (1-based) repeats."""
    number = min(number, len(lines))
    while number > 1 and not lines[number - 1].strip():
        number -= 1  # tomllib reports the start of the following line
    repeated = lines[number - 1].strip()
    header = repeated.startswith("[")
    key = repeated.split("]")[0] if header else repeated.split("=")[0].strip()
    for index in range(number - 2, -1, -1):
        earlier = lines[index].strip()
        if header and earlier.split("]")[0] == key:
            return index + 1
        if not header and earlier.startswith("["):
            return None
        if not header and earlier.split("=")[0].strip() == key:
            return index + 1
    return None
