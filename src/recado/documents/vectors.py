"""Texts as vectors: how they are stored, and which are nearest to a question."""

import heapq
import math
import struct
from collections.abc import Iterable, Sequence
from itertools import count
from operator import mul
from typing import Protocol

from recado.errors import ModelError

Vector = Sequence[float]

CANDIDATES = 100
"""How many vectors are compared exactly. They are those whose signs agree best with the question's: comparing signs
takes a thousandth of the time, and the nearest are nearly always among them."""

_SIGN = 0x80
_FLOAT_BYTES = 4


class Embedder(Protocol):
    """Turns texts into vectors, those of texts that mean the same near to each other."""

    @property
    def name(self) -> str:
        """The model and the length of its vectors. Vectors of another name cannot be compared with these."""

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector for each text, in order; no text may be empty.

        Raises ModelError when the model cannot be reached, InvalidInput when it refuses a text.
        """


def pack(vector: Vector) -> bytes:
    """A vector as it is stored: length 1, float32, little-endian. Raises ModelError for one that has no direction."""
    length = math.sqrt(sum(value * value for value in vector))
    if not length or not math.isfinite(length):
        raise ModelError("the model gave a vector without a direction")
    return struct.pack(f"<{len(vector)}f", *(value / length for value in vector))


class Vectors:
    """The vectors of one merchant's documents, to find the nearest of. `rows`: (document id, packed vector)."""

    def __init__(self, rows: Iterable[tuple[int, bytes]]) -> None:
        self._rows = list(rows)
        self._signs = [_signs(packed) for _, packed in self._rows]
        self.size = sum(2 * len(packed) for _, packed in self._rows)
        """About how many bytes of memory this takes."""

    def __len__(self) -> int:
        return len(self._rows)

    def nearest(self, vector: Vector, limit: int) -> list[int]:
        """The ids of the documents nearest to a vector, nearest first."""
        packed = pack(vector)
        signs = _signs(packed)
        rows = self._rows
        if len(rows) > CANDIDATES:
            differing = [(each ^ signs).bit_count() for each in self._signs]
            rows = [rows[place] for _, place in heapq.nsmallest(CANDIDATES, zip(differing, count(), strict=False))]
        unpack = struct.Struct(f"<{len(vector)}f").unpack
        asked = unpack(packed)
        scores = [
            (sum(map(mul, asked, unpack(stored))), document_id)
            for document_id, stored in rows
            if len(stored) == len(packed)
        ]
        return [document_id for _, document_id in heapq.nlargest(limit, scores)]


def _signs(packed: bytes) -> int:
    """A number with one bit for each negative value of the vector."""
    # The last byte of a little-endian float32 begins with its sign.
    return int.from_bytes(packed[_FLOAT_BYTES - 1 :: _FLOAT_BYTES], "big") & int.from_bytes(
        bytes([_SIGN]) * (len(packed) // _FLOAT_BYTES), "big"
    )
