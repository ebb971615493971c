from netinfo.seldom import PAUSE, Seldom


def test_once_in_a_while() -> None:
    now = [0.0]
    seldom = Seldom(lambda: now[0])
    assert [seldom() for _ in range(3)] == [True, False, False]
    now[0] = PAUSE
    assert [seldom() for _ in range(2)] == [True, False]
