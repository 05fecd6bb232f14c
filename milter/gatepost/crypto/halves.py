"""
The private halves of a pair for sealing, through its rotations.

A file of them is 32 octets (raw X25519, RFC 7748) as long as the pair was never rotated. Then it is lines of text:

  gatepost secret 1
  current HEX     the half that everything is sealed to from now on
  former HEX      an earlier one, the latest first: what is sealed to it still opens
  proof HEX       what is left of one that was forgotten: the key of its codes (`proof`), which opens nothing

One file holds them all, so that whoever replaces it does so at once, and a copy of it is whole.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from gatepost.crypto import proof, seal
from gatepost.errors import CryptoError, GatepostError

_HEADING = "gatepost secret 1"
_CURRENT, _FORMER, _PROOF = "current", "former", "proof"


@dataclass(frozen=True, slots=True)
class Halves:
    """The halves of one pair, raw; none of them is ever shown."""

    current: bytes = field(repr=False)
    former: tuple[bytes, ...] = field(default=(), repr=False)
    proofs: tuple[bytes, ...] = field(default=(), repr=False)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")

    @property
    def all(self) -> tuple[bytes, ...]:
        """Every half that opens what is sealed, the current one first."""
        return (self.current, *self.former)

    @property
    def public(self) -> bytes:
        """The public half of the current one, raw."""
        return seal.public_half(self.current)

    def prover(self) -> proof.Prover:
        """Give what makes codes under the current half, and proves those made under any."""
        return proof.Prover(self.current, (*map(proof.key_of, self.former), *self.proofs))

    def rotated(self) -> "Halves":
        """Give the halves with a new current one."""
        return Halves(seal.new_pair()[0], self.all, self.proofs)

    def forgotten(self) -> "Halves":
        """Give the current half alone, and what proves codes of all others."""
        return Halves(self.current, (), (*map(proof.key_of, self.former), *self.proofs))

    def octets(self) -> bytes:
        """Give the file that holds them."""
        if not self.former and not self.proofs:
            return self.current
        lines = [(_CURRENT, self.current)]
        lines += [(_FORMER, one) for one in self.former] + [(_PROOF, one) for one in self.proofs]
        return "\n".join([_HEADING, *(f"{word} {one.hex()}" for word, one in lines), ""]).encode("ascii")


def read(octets: bytes) -> Halves:
    """Read a file of halves; raises CryptoError that says what is wrong, and nothing of what it holds."""
    if len(octets) == seal.KEY_SIZE:
        return Halves(octets)
    heading, *lines = octets.decode("ascii", "replace").splitlines() or [""]
    if heading != _HEADING:
        raise CryptoError(f"holds {len(octets)} octets instead of {seal.KEY_SIZE}")
    found: dict[str, list[bytes]] = {_CURRENT: [], _FORMER: [], _PROOF: []}
    for number, line in enumerate(lines, 2):
        word, _, text = line.partition(" ")
        try:
            half = bytes.fromhex(text)
        except ValueError:
            half = b""
        if word not in found or len(half) != seal.KEY_SIZE:
            raise CryptoError(f"its line {number} is no half of a secret")
        found[word].append(half)
    if len(found[_CURRENT]) != 1:
        raise CryptoError(f"names {len(found[_CURRENT])} current halves instead of one")
    return Halves(found[_CURRENT][0], tuple(found[_FORMER]), tuple(found[_PROOF]))


class Unsealer:
    """Opens what is sealed to a pair; where nothing opens it, the halves are read anew, once. Thread-safe."""

    def __init__(self, read_halves: Callable[[], Halves]) -> None:
        """Take what reads the halves; raises what that raises."""
        self._read = read_halves
        self._halves = read_halves()

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt what `seal.wrap` made; raises CryptoError."""
        try:
            return seal.unwrap_any(self._halves.all, wrapped, context)
        except CryptoError:
            try:
                self._halves = self._read()  # the secret may have been rotated
            except GatepostError:
                raise CryptoError("the secret can no longer be read") from None
        return seal.unwrap_any(self._halves.all, wrapped, context)
