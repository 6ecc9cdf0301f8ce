"""A server that misbehaves on request, on plain asyncio sockets: the strangers that the sender must survive.

The path names the fault, so that one sink serves a whole test: `/status/503`, `/drip-body`, `/reset`, …
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gzip
import ipaddress
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came: header names in their own case, and which connection brought it."""

    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass
class Sink:
    """The server and what it saw. `script` answers next, in order; without one the path says what to do."""

    port: int = 0
    scheme: str = "http"
    seen: list[Seen] = field(default_factory=list)
    script: list[str] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    #: What `/raw/NAME` answers, byte for byte, before it closes.
    raw: dict[str, bytes] = field(default_factory=dict)
    #: A hook run before each answer, with the request.
    before: Callable[[Seen], Awaitable[None]] | None = None

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_now += 1
        number = self.connections
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, TimeoutError):
                while await self._one(reader, writer, number):
                    pass
        finally:
            self.open_now -= 1
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in head[1:-2]))
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        path = head[0].split(" ")[1]
        if path.startswith("/early/"):
            self.seen.append(Seen(path, headers, b"", number))
            return await self._early(writer, path.removeprefix("/early/"))
        seen = Seen(path, headers, await reader.readexactly(length), number)
        self.seen.append(seen)
        if self.before is not None:
            await self.before(seen)
        fault = self.script.pop(0) if self.script else seen.path
        name, _, argument = fault.strip("/").partition("/")
        act = getattr(self, "_" + name.replace("-", "_"), None) if name else None
        if act is None:
            return await self._status(writer, "200")
        keep: bool = await act(writer, argument)
        return keep

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    async def _status(self, writer: asyncio.StreamWriter, code: str) -> bool:
        body = b"" if code == "204" else b"noted"
        length = b"" if code == "204" else b"Content-Length: %d\r\n" % len(body)
        await self._write(writer, b"HTTP/1.1 %d Made Up\r\n%s\r\n%s" % (int(code), length, body))
        return True

    async def _close_after(self, writer: asyncio.StreamWriter, code: str) -> bool:
        """A good answer that promises to keep the connection, which is then closed."""
        await self._status(writer, code)
        return False

    async def _early(self, writer: asyncio.StreamWriter, code: str) -> bool:
        """An answer that does not wait for the body, which is never read."""
        await self._status(writer, code)
        await asyncio.Event().wait()
        return False

    async def _redirect(self, writer: asyncio.StreamWriter, target: str) -> bool:
        await self._write(writer, f"HTTP/1.1 307 Go\r\nLocation: /{target}\r\nContent-Length: 0\r\n\r\n".encode())
        return True

    async def _retry_after(self, writer: asyncio.StreamWriter, value: str) -> bool:
        await self._write(writer, f"HTTP/1.1 429 Slow\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n".encode())
        return True

    async def _hang(self, writer: asyncio.StreamWriter, _: str) -> bool:
        await asyncio.Event().wait()
        return False

    async def _slow(self, writer: asyncio.StreamWriter, delay_s: str) -> bool:
        await asyncio.sleep(float(delay_s))
        return await self._status(writer, "200")

    async def _close_late(self, writer: asyncio.StreamWriter, delay_s: str) -> bool:
        await asyncio.sleep(float(delay_s))
        return False

    async def _drip_headers(self, writer: asyncio.StreamWriter, _: str) -> bool:
        await self._write(writer, b"HTTP/1.1 200 OK\r\n")
        while True:
            await self._write(writer, b"X-Drip: drop\r\n")
            await asyncio.sleep(0.05)

    async def _drip_body(self, writer: asyncio.StreamWriter, code: str) -> bool:
        await self._write(writer, b"HTTP/1.1 %d Fine\r\nContent-Length: 100000\r\n\r\n" % int(code or 200))
        while True:
            await self._write(writer, b"d")
            await asyncio.sleep(0.02)

    async def _giant(self, writer: asyncio.StreamWriter, _: str) -> bool:
        await self._write(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            await self._write(writer, b"g" * 65536)

    async def _gzip_bomb(self, writer: asyncio.StreamWriter, _: str) -> bool:
        bomb = gzip.compress(bytes(8_000_000))
        await self._write(
            writer,
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb,
        )
        return True

    async def _cut_body(self, writer: asyncio.StreamWriter, _: str) -> bool:
        await self._write(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nonly this")
        return False

    async def _bad_chunks(self, writer: asyncio.StreamWriter, pause_s: str) -> bool:
        await self._write(writer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asyncio.sleep(float(pause_s))
        await self._write(writer, b"zz\r\nnonsense\r\n")
        await asyncio.sleep(0.05)
        return False

    async def _close(self, writer: asyncio.StreamWriter, _: str) -> bool:
        return False

    async def _partial(self, writer: asyncio.StreamWriter, _: str) -> bool:
        await self._write(writer, b"HTTP/1.1 2")
        await asyncio.sleep(0.05)
        return False

    async def _reset(self, writer: asyncio.StreamWriter, _: str) -> bool:
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    async def _garbage(self, writer: asyncio.StreamWriter, _: str) -> bool:
        await self._write(writer, b"\x00\xffSSH-2.0-not a web server\r\n\r\n")
        await asyncio.sleep(0.05)
        return False

    async def _informational(self, writer: asyncio.StreamWriter, count: str) -> bool:
        await self._write(writer, b"HTTP/1.1 102 Processing\r\nX-A: b\r\n\r\n" * int(count))
        return await self._status(writer, "200")

    async def _endless_informational(self, writer: asyncio.StreamWriter, _: str) -> bool:
        while True:
            await self._write(writer, b"HTTP/1.1 100 Continue\r\n\r\n")
            await asyncio.sleep(0.001)

    async def _many_headers(self, writer: asyncio.StreamWriter, count: str) -> bool:
        lines = b"".join(b"X-%d: v\r\n" % number for number in range(int(count)))
        await self._write(writer, b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 0\r\n\r\n")
        return True

    async def _long_header(self, writer: asyncio.StreamWriter, size: str) -> bool:
        value = b"v" * int(size)
        await self._write(writer, b"HTTP/1.1 200 OK\r\nX-Long: " + value + b"\r\nContent-Length: 0\r\n\r\n")
        return True

    async def _odd_headers(self, writer: asyncio.StreamWriter, _: str) -> bool:
        await self._write(
            writer, b"HTTP/1.1 200 OK\r\nX-Latin: caf\xe9 \xff\r\nX-Utf8: \xc3\xa9\r\nContent-Length: 0\r\n\r\n"
        )
        return True

    async def _control_headers(self, writer: asyncio.StreamWriter, _: str) -> bool:
        await self._write(writer, b"HTTP/1.1 200 OK\r\nX-Bell: a\x07\x01b\r\nContent-Length: 0\r\n\r\n")
        return True

    async def _nul_header(self, writer: asyncio.StreamWriter, _: str) -> bool:
        await self._write(writer, b"HTTP/1.1 200 OK\r\nX-Nul: a\x00b\r\nContent-Length: 0\r\n\r\n")
        return True

    async def _raw(self, writer: asyncio.StreamWriter, name: str) -> bool:
        await self._write(writer, self.raw[name])
        return False

    async def _raw_open(self, writer: asyncio.StreamWriter, name: str) -> bool:
        """The same, and the connection stays open."""
        await self._write(writer, self.raw[name])
        return True

    async def _unasked(self, writer: asyncio.StreamWriter, _: str) -> bool:
        """A good answer, and a moment later a second one that nobody asked for."""
        await self._status(writer, "200")
        await asyncio.sleep(0.05)
        await self._write(writer, b"HTTP/1.1 200 OK\r\nX-Forged: yes\r\nContent-Length: 0\r\n\r\n")
        return True


@contextlib.asynccontextmanager
async def running_sink(tls: ssl.SSLContext | None = None) -> AsyncIterator[Sink]:
    """A sink on a free loopback port, over TLS where a context is given."""
    sink = Sink(scheme="https" if tls else "http")
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await sink._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # a StreamReaderProtocol reports a cancelled handler as an error
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
        await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority made for one test, and server contexts it vouches for."""

    folder: Path
    ca_file: str
    _key: ec.EllipticCurvePrivateKey
    _certificate: x509.Certificate

    @classmethod
    def make(cls, folder: Path) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test Authority")])
        certificate = (
            _certificate(name, name, key.public_key(), days=30)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        ca_file = folder / "ca.pem"
        ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(folder, str(ca_file), key, certificate)

    def self_signed_context(self, name: str) -> ssl.SSLContext:
        """A context whose certificate nobody else vouches for."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        leaf = (
            _certificate(subject, subject, key.public_key(), days=30)
            .add_extension(x509.SubjectAlternativeName([_general_name(name)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        return _context(self._write(f"self-{name}", key, leaf))

    def server_context(self, *names: str, days: int = 30) -> ssl.SSLContext:
        """A context with a certificate from `issue`."""
        return _context(self.issue(*names, days=days))

    def issue(self, *names: str, days: int = 30) -> Path:
        """A key and a certificate for `names` (host names or IP addresses), as PEM; a negative `days` has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        leaf = (
            _certificate(subject, self._certificate.subject, key.public_key(), days=days)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return self._write(f"{names[0]}{days}", key, leaf)

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, leaf: x509.Certificate) -> Path:
        path = self.folder / f"{name}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + leaf.public_bytes(serialization.Encoding.PEM)
        )
        return path


def _context(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=60))
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
