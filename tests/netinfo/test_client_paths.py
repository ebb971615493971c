import pytest

from netinfo.client.paths import DirectoryPath, Step, parse_path, parse_x500


def names(*values: bytes) -> tuple[Step, ...]:
    return tuple(Step(b"name", value) for value in values)


@pytest.mark.parametrize(
    ("path", "absolute", "steps"),
    [
        (b"/", True, ()),
        (b"", False, ()),
        (b"//users//ann", True, names(b"users", b"ann")),
        (b"/machines/name=alpha", True, names(b"machines", b"alpha")),
        (b"/users/uid=0", True, (*names(b"users"), Step(b"uid", b"0"))),
        (b"/a\\/b", True, names(b"a/b")),
        (b"/a\\=b", True, names(b"a=b")),
        (b"/k=a=b", True, (Step(b"k", b"a=b"),)),
        (b"/users/", True, names(b"users", b"")),
        (b"ann", False, names(b"ann")),
        (b"a\\\\/b", False, names(b"a\\/b")),  # the escape test sees only the one character before the slash
    ],
)
def test_paths(path: bytes, absolute: bool, steps: tuple[Step, ...]) -> None:
    assert parse_path(path) == DirectoryPath(absolute, steps)


@pytest.mark.parametrize("path", [b"/", b"/users/uid=0", b"/a\\/b", b"/a\\=b", b"ann"])
def test_a_path_prints_as_it_was_written(path: bytes) -> None:
    assert bytes(parse_path(path)) == path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"", b"/"),
        (b"name=users", b"/users"),
        (b"uid=101, name=users", b"/users/uid=101"),
        (b"ann,users", b"/users/ann"),
        (b"a\\,b,users", b"/users/a,b"),
        (b"name=a\\=b", b"/a\\=b"),
        (b"name=a/b", b"/a\\/b"),
    ],
)
def test_x500_names(name: bytes, path: bytes) -> None:
    parsed = parse_x500(name)
    assert bytes(parsed) == path
    assert parse_x500(parsed.to_x500()) == parsed


def test_x500_names_write_every_key() -> None:
    assert parse_path(b"/users/uid=101").to_x500() == b"uid=101,name=users"
    assert parse_path(b"/a,b\\=c").to_x500() == b"name=a\\,b\\=c"
