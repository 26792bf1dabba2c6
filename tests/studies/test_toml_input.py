"""Bad study files are refused before they cost anything."""

import pytest

from mrsim.studies.problems import InputError
from mrsim.studies.toml_input import MAX_DEPTH, MAX_KEY_PARTS, parse_toml, read_toml


def refusal(text):
    with pytest.raises(InputError) as caught:
        parse_toml(text, name="s.toml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("s.toml: ")
    return message


def test_plain_text_with_bom_and_crlf_is_read():
    assert parse_toml('\ufeffa = 1e-3\r\nb = "1.2.3"\r\n', name="s.toml") == {"a": 0.001, "b": "1.2.3"}


def test_object_tag_is_a_syntax_error_with_line():
    assert "line 2, column 5" in refusal('x = 1\na = !!python/object/apply:os.system ["ls"]')


@pytest.mark.parametrize("name", ["study.yaml", "study.YML", "study.json", "study.py"])
def test_other_formats_are_refused_unread(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"\xff" * 10)  # reading it would fail otherwise
    with pytest.raises(InputError, match="study files are TOML"):
        read_toml(path)


def test_yaml_in_a_toml_file_is_named():
    assert "study files are TOML" in refusal("---\na: 3\n")
    assert "looks like YAML" in refusal("a: 3\n")


@pytest.mark.parametrize(
    "text",
    [
        "a." * 5000 + "a = 1",  # one long line
        "\n".join("a." * 400 + f"b{i} = 1" for i in range(1200)),  # many lines below the limit of length
        "x = {" + '"a" . ' * 100 + "b = 1}",  # quoted parts in an inline table
        "[" + "a." * 100 + "b]",
    ],
)
def test_dotted_key_bombs_are_refused_unparsed(text):
    message = refusal(text)
    assert "parts" in message or "bytes" in message
    # tomllib would take seconds and gigabytes for these; they are refused before it sees them.


def test_dotted_keys_up_to_the_limit_and_dots_in_text_are_fine():
    key = ".".join("abcdefghijklmnop"[:MAX_KEY_PARTS])
    assert parse_toml(f"{key} = 1\n# {key}.q.r it's\nz = '{key}.q.r'\nn = [0.1, 0.2]\n", name="s.toml")


@pytest.mark.parametrize("text", ["a = " + "[\n" * 100_000, "a = " + "[\n" * 100 + "]" * 100])
def test_depth_is_limited(text):
    assert f"at most {MAX_DEPTH} levels" in refusal(text)


def test_duplicates_name_both_lines():
    message = refusal("[a]\nnoise = 1\nx = 2\nnoise = 2\n")
    assert "line 4" in message
    assert "line 2" in message
    message = refusal("[a]\nx = 1\n[b]\n[a]\n")
    assert "line 4" in message
    assert "line 1" in message


@pytest.mark.parametrize(
    ("line", "remedy"), [("site = NO", '"NO"'), ("id = 010", "leading zeros"), ("ok = yes", "true and false")]
)
def test_yaml_habits_get_a_remedy(line, remedy):
    assert remedy in refusal(line)


def test_limits_of_size_encoding_and_place(tmp_path):
    big = tmp_path / "big.toml"
    big.write_bytes(b"# x\n" * (1 << 19))
    with pytest.raises(InputError, match="larger than 1024 KiB"):
        read_toml(big)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'a = 1\nb = "\xe9"\n')
    with pytest.raises(InputError, match=r"line 2: not UTF-8"):
        read_toml(latin)
    with pytest.raises(InputError, match="no such file"):
        read_toml(tmp_path / "absent.toml")
    with pytest.raises(InputError, match="is a folder"):
        read_toml(tmp_path)
