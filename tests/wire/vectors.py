"""Signature vectors: four captured with their bodies, the rest made for this suite.

Each is checked both ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CAPTURED = Path(__file__).parent / "captured"

OWN_SECRET = "whsec_vector_secret_0001"
OWN_TIMESTAMP_MS = 1_700_000_000_000

BODY_A = (
    b'{"id":"event_01HF000000000000000000000A","event":"user.created","data":{"object":"user",'
    b'"id":"user_01HF000000000000000000000B"},"created_at":"2023-11-14T22:13:20.000Z"}'
)
BODY_B = (
    '{"id":"event_01HF000000000000000000000C","event":"user.updated","data":{"first_name":"Zoë 😀"},'
    '"created_at":"2023-11-14T22:13:20.000Z"}'
).encode()
BODY_C = (
    rb'{"id":"event_01HF000000000000000000000C","event":"user.updated",'
    rb'"data":{"first_name":"Zo\u00eb \ud83d\ude00"},'
    rb'"created_at":"2023-11-14T22:13:20.000Z"}'
)


@dataclass(frozen=True, slots=True)
class Vector:
    """A body, who signed it and when, and the digest that came out."""

    name: str
    secret: str
    timestamp_ms: int
    v1: str
    body: bytes

    @property
    def header(self) -> str:
        return f"t={self.timestamp_ms}, v1={self.v1}"


def _captured(name: str) -> bytes:
    return (CAPTURED / f"{name}.json").read_bytes()


def _own(number: int, v1: str, body: bytes) -> Vector:
    return Vector(f"{number} own", OWN_SECRET, OWN_TIMESTAMP_MS, v1, body)


_CONNECTION_SECRET = "2sAZJlbjP8Ce3rwkKEv2GfKef"
_CONNECTION_MS = 1_722_443_701_539

VECTORS = (
    Vector(
        "1 captured",
        "1lyKDzhJjuCkIscIWqkSe4YsQ",
        1_632_409_405_772,
        "67612f0e74f008b436a13b00266f90ef5c13f9cbcf6262206f5f4a539ff61702",
        _captured("p1"),
    ),
    Vector(
        "2 captured",
        _CONNECTION_SECRET,
        _CONNECTION_MS,
        "bd54a3768f461461c8439c2f97ab0d646ef3976f84d5d5b132d18f2fa89cdad5",
        _captured("p2"),
    ),
    Vector(
        "3 captured, a type nobody knows",
        _CONNECTION_SECRET,
        _CONNECTION_MS,
        "f82f88dd60d5bc8a803686a27f83ce148b8c37c54490c52b77d00d62da891f1b",
        _captured("p3"),
    ),
    Vector(
        "4 captured",
        "nTqlYkHe6GyqYkmUQWksUWYmQ",
        1_634_310_434_103,
        "0de6f84a9c3dd217973c44dffbcb3fd1225a4ab453e08b608491479ebab382e8",
        _captured("p4"),
    ),
    _own(7, "717c76ad6e08afbf36d6b8fc702fabf87a74702eff5b7e95e0c15eaca76e169d", BODY_A),
    _own(8, "30f29993677fb4db518f1824bdeb32ef11c608dbbf7dde7d5f17e6da41c746b8", BODY_B),
    _own(9, "1eaf4ed82fb3e129fc5176a7c52834a26341fb1141266115c62dac8c8d58ef9c", BODY_C),
    _own(10, "5a25ec03c51c1eabd55de69a4fbd542359e6c5508370a421495fec6b7b97123f", b""),
    _own(11, "2c2d0081f7d482992d04d3421f7328aa0eabd1680ef053a57840092ee36cf7e5", BODY_A + b"\n"),
)
BY_NUMBER = {int(vector.name.split()[0]): vector for vector in VECTORS}
