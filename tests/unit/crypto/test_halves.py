"""The private halves of a pair: what a file of them says, through rotations, and what opens meanwhile."""

import pickle

import pytest

from gatepost.crypto import halves, proof, seal
from gatepost.crypto.halves import Halves, Unsealer
from gatepost.errors import ConfigError, CryptoError

PRIVATE, PUBLIC = seal.new_pair()


def test_a_pair_that_was_never_rotated_is_32_octets() -> None:
    """The file is the raw half, as ever."""
    assert halves.read(PRIVATE) == Halves(PRIVATE)
    assert Halves(PRIVATE).octets() == PRIVATE
    assert Halves(PRIVATE).public == PUBLIC


def test_a_rotated_pair_comes_back_whole() -> None:
    """Current, former and what proves codes survive being written, over several rotations."""
    twice = Halves(PRIVATE).rotated().forgotten().rotated().rotated()

    assert halves.read(twice.octets()) == twice
    assert (len(twice.all), len(twice.proofs)) == (3, 1)
    assert len(set(twice.all)) == 3


def test_former_halves_open_until_they_are_forgotten() -> None:
    """What was sealed before a rotation opens; forgotten, it does not, and nothing of the old half is left."""
    wrapped = seal.wrap(PUBLIC, b"data key", b"context")
    rotated = Halves(PRIVATE).rotated()

    assert Unsealer(lambda: rotated).unwrap(wrapped, b"context") == b"data key"
    with pytest.raises(CryptoError):
        Unsealer(rotated.forgotten).unwrap(wrapped, b"context")
    assert PRIVATE.hex().encode() not in rotated.forgotten().octets()


def test_codes_are_proved_after_every_rotation() -> None:
    """Codes made under an earlier half go on being proved; new ones are made under the current half alone."""
    statement = b"s" * 32
    codes = []
    one = Halves(PRIVATE)
    for change in (Halves.rotated, Halves.forgotten, Halves.rotated, Halves.rotated, Halves.forgotten):
        codes.append(one.prover().code(statement))
        one = change(one)

    assert all(one.prover().proves(statement, code) for code in codes)
    assert one.prover().code(statement) == proof.Prover(one.current).code(statement)
    assert not one.prover().proves(statement, proof.Prover(b"f" * 32).code(statement))


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"", "holds 0 octets instead of 32"),
        (b"x" * 31, "holds 31 octets instead of 32"),
        (b"x" * 64, "holds 64 octets instead of 32"),
        (b"gatepost secret 1\n", "names 0 current halves"),
        (
            b"gatepost secret 1\ncurrent " + b"00" * 32 + b"\ncurrent " + b"11" * 32 + b"\n",
            "names 2 current halves",
        ),
        (b"gatepost secret 1\ncurrent " + b"00" * 31 + b"\n", "line 2 is no half"),
        (b"gatepost secret 1\ncurrent " + b"00" * 32 + b"\nelse " + b"00" * 32 + b"\n", "line 3 is no half"),
        (b"gatepost secret 2\ncurrent " + b"00" * 32 + b"\n", "octets instead of 32"),
    ],
)
def test_what_is_no_file_of_halves_is_refused(octets: bytes, said: str) -> None:
    """A file that was cut off or edited says so, and nothing of what it holds."""
    with pytest.raises(CryptoError, match=said) as caught:
        halves.read(octets)
    assert "0000" not in str(caught.value)


def test_halves_are_never_shown() -> None:
    """Neither printed nor pickled."""
    assert PRIVATE.hex() not in repr(Halves(PRIVATE, (PRIVATE,), (PRIVATE,)))
    assert "PRIVATE" not in repr(Halves(PRIVATE))
    with pytest.raises(TypeError):
        pickle.dumps(Halves(PRIVATE))


def test_a_secret_that_is_gone_is_no_other_error() -> None:
    """Where the halves cannot be read anew, what does not open is told as such."""
    reads = iter([Halves(PRIVATE)])

    def read() -> Halves:
        try:
            return next(reads)
        except StopIteration:
            raise ConfigError("gone") from None

    with pytest.raises(CryptoError, match="no longer be read"):
        Unsealer(read).unwrap(b"rubbish", b"")
