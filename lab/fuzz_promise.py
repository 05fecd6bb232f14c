"""What a target of the fuzzer raises where a parser gave what it must not."""


class BrokenPromiseError(AssertionError):
    """A parser gave what it must not."""


def promise(held: object) -> None:
    """Raise BrokenPromiseError unless what was promised holds."""
    if not held:
        raise BrokenPromiseError
