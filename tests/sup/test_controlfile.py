"""The rules that all control files share."""

from sup.controlfile import lines, words


def test_comments_and_empty_lines_are_left_out_and_numbers_kept() -> None:
    text = b"# one\nupgrade a\n\n;no\n:no\n  # not a comment\nlast"
    assert list(lines(text)) == [(2, b"upgrade a"), (6, b"  # not a comment"), (7, b"last")]


def test_blanks_and_tabs_separate_words() -> None:
    assert words(b"  upgrade\ta  b\x0bc \t") == [b"upgrade", b"a", b"b\x0bc"]
