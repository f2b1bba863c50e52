"""Named places in the code where tests inject faults, such as a kill or a full disk."""


def point(_name: str, **_details: object) -> None:
    """Do nothing. `tests/support/faults` replaces this function in the processes of a test."""
