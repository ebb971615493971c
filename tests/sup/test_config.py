"""The server's configuration, and which base directories it lets clients ask for."""

import os
from pathlib import Path

import pytest

from sup.config import CollectionConfig, ConfigError, NoSuchBase, ServerConfig, load, read_coll_dir


def test_load(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        """
        port = 1127
        bases = ["/srv/sup"]
        [collections.demo]
        base = "/home/demo"
        users = ["joe"]
        [users]
        joe = "$scrypt$hash"
        """
    )
    config = load(tmp_path / "c.toml")
    assert config.port == 1127
    assert config.bases == ("/srv/sup",)
    assert config.collections == {"demo": CollectionConfig(base="/home/demo", users=("joe",))}
    assert config.users_of(b"demo") == ("joe",)
    assert config.users_of(b"other") == ()
    assert "hash" not in repr(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('port = "x"', "port: expected int, not 'x'"),
        ("port = 70000", "port"),
        ("prot = 1", "unknown key: prot"),
        ('bases = ["srv"]', "bases: 'srv' is not an absolute path"),
        ('[collections.demo]\nbas = "/x"', r"collections\['demo'\].*bas"),
        ('[collections.demo]\nbase = "x"', "collections.demo.base: 'x' is not an absolute path"),
        (
            '[collections.demo]\nbase = "/x"\nusers = ["joe"]',
            r"collections.demo.users: 'joe' is not one of the \[users\]",
        ),
        ('clients = ["300.1.1.1"]', "clients: '300.1.1.1'"),
        ("port = ", "Invalid value"),
        ("max_clients = -1", "max_clients"),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path / "c.toml")
    assert str(tmp_path / "c.toml") in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml")


@pytest.fixture
def config(tmp_path: Path) -> ServerConfig:
    for name in ("srv/one/deep", "home/demo", "secret", "listed"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "srv/inside").symlink_to("one")
    (tmp_path / "srv/away").symlink_to("../secret")
    (tmp_path / "srv/file").touch()
    (tmp_path / "supfiles").mkdir()
    (tmp_path / "supfiles/coll.dir").write_text(
        f"# dirs\nlisted = {tmp_path}/listed\ngone\t{tmp_path}/gone\n"
    )
    return ServerConfig(
        bases=(f"{tmp_path}/srv",),
        collections={"demo": CollectionConfig(base=f"{tmp_path}/home/demo")},
        supfiles=f"{tmp_path}/supfiles",
    )


@pytest.mark.parametrize(
    ("collection", "hostbase", "found"),
    [
        ("demo", None, "home/demo"),
        ("demo", "", "home/demo"),
        ("demo", "home/demo", "home/demo"),
        ("demo", "home/demo/", "home/demo"),
        ("x", "srv", "srv"),
        ("x", "srv/one", "srv/one"),
        ("x/y", "srv//one/./deep", "srv/one/deep"),
        ("x", "srv/inside/deep", "srv/one/deep"),
        ("listed", None, "listed"),
        ("listed", "listed", "listed"),
    ],
)
def test_bases_that_may_be_served(
    config: ServerConfig, tmp_path: Path, collection: str, hostbase: str | None, found: str
) -> None:
    asked = None if hostbase is None else os.fsencode(f"{tmp_path}/{hostbase}" if hostbase else "")
    assert config.locate(collection.encode(), asked) == os.fsencode(tmp_path / found)


@pytest.mark.parametrize(
    ("collection", "hostbase"),
    [
        ("other", "home/demo"),
        ("demo", "home"),
        ("demo", "home/demo/none"),
        ("x", "secret"),
        ("x", "none"),
        ("x", "srv/away"),
        ("x", "srv/file"),
        ("x", "srv/../secret"),
        ("x", "srv/one/.."),
        ("x", "srvx"),
        ("../x", "srv"),
        ("/x", "srv"),
        ("", "srv"),
        ("x/../y", "srv"),
        (".", "srv"),
        ("x\0y", "srv"),
        ("x" * 256, "srv"),
        ("x", "srv\0"),
        ("unknown", None),
        ("gone", None),
    ],
)
def test_every_other_is_refused_in_the_same_words(
    config: ServerConfig, tmp_path: Path, collection: str, hostbase: str | None
) -> None:
    asked = None if hostbase is None else os.fsencode(f"{tmp_path}/{hostbase}")
    with pytest.raises(NoSuchBase, match=r"^Can't chdir to base directory "):
        config.locate(collection.encode(), asked)


def test_a_relative_base_is_taken_from_the_root(config: ServerConfig, tmp_path: Path) -> None:
    assert config.locate(b"x", os.fsencode(f"{tmp_path}/srv").lstrip(b"/")) == os.fsencode(tmp_path / "srv")


def test_without_bases_only_what_is_configured(tmp_path: Path) -> None:
    with pytest.raises(NoSuchBase):
        ServerConfig().locate(b"x", os.fsencode(tmp_path))


def test_roots(config: ServerConfig, tmp_path: Path) -> None:
    assert {os.fsencode(tmp_path / name) for name in ("srv", "home/demo", "listed")} <= set(config.roots())


def test_coll_dir(tmp_path: Path) -> None:
    (tmp_path / "coll.dir").write_bytes(b"# x\na /one\nb= /two\nc = /three\na /four\nd\ne relative\n")
    assert read_coll_dir(tmp_path / "coll.dir") == {b"a": b"/one", b"b": b"/two", b"c": b"/three"}
    assert read_coll_dir(tmp_path / "none") == {}
