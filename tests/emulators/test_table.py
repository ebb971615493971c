"""What a person is told: the sample accounts are those of the samples, in the README too."""

from pathlib import Path

from rich.console import Console

from emulators import table
from netinfo.starter import PASSWORDS


def test_every_account_is_in_the_table() -> None:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table._accounts())
    lines = [line.split() for line in console.export_text().splitlines()]
    for tag, accounts in PASSWORDS.items():
        for account, password in accounts.items():
            assert [account.decode(), tag.decode(), password.decode()] in lines
    console.file.close()


def test_the_readme_tells_the_passwords() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    for accounts in PASSWORDS.values():
        for account, password in accounts.items():
            assert f"`{account.decode()}` (" in readme
            assert f"`{password.decode()}`)" in readme
