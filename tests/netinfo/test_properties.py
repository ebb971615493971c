"""Which property a name means, and settings (NETINFO 2.1)."""

from __future__ import annotations

from netinfo.properties import says, values_of
from tests.netinfo.base import prop


def test_first_property_of_a_name_counts() -> None:
    properties = (prop("name"), prop("name", "x"), prop("k", "y"))
    assert values_of(properties, b"name") == ()
    assert values_of(properties, b"k") == (b"y",)
    assert values_of(properties, b"nosuch") == ()


def test_settings_are_said_in_small_letters_or_capitals() -> None:
    for value in ("yes", "Yes", "YES"):
        assert says([prop("isRoot", value, "no")], b"isRoot", b"yes")
    for properties in ([], [prop("isRoot")], [prop("isRoot", "no", "yes")], [prop("isRoot", "yEs")]):
        assert not says(properties, b"isRoot", b"yes")
