"""TLS over a connected socket, for one thread that reads while another one writes.

An `ssl.SSLSocket` must not be used by two threads at the same time, and waits for the peer inside of the calls that
would have to be locked. Here the protocol's state is locked only while it computes, never while it waits: a peer that
stops reading holds up the writer alone, and shutting the socket down frees both threads.
"""

import contextlib
import socket
import ssl
import threading

_CHUNK_BYTES = 64 * 1024


class TlsSocket:
    """The methods of a socket that stomp.py and the writer call.

    `failure` says why TLS ended; empty while it works, and when the peer ended it in order.
    """

    def __init__(self, connected: socket.socket, context: ssl.SSLContext, *, host: str) -> None:
        self.failure = ""
        self._socket = connected
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._state = threading.Lock()
        self._wire = threading.Lock()  # keeps the records in order; taken before the state

    def handshake(self, seconds: float) -> None:
        """Raises OSError, of which ssl.SSLError is one: the peer cannot be trusted, or does not speak TLS."""
        self._socket.settimeout(seconds)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._socket.sendall(self._outgoing.read())
                self._fill()
            else:
                break
            finally:
                with contextlib.suppress(OSError):  # the alert that tells the peer why
                    self._socket.sendall(self._outgoing.read())
        self._socket.settimeout(None)

    def recv(self, size: int) -> bytes:
        """Waits for bytes; none means that the peer has ended the connection."""
        while True:
            try:
                with self._state:
                    return self._tls.read(size)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                self.failure = reason_of(error)
                raise
            self._flush()
            if not self._fill():
                return b""

    def sendall(self, data: bytes) -> None:
        with self._wire:
            with self._state:
                view = memoryview(data)
                while view:
                    view = view[self._tls.write(view) :]
                records = self._outgoing.read()
            self._socket.sendall(records)

    def _fill(self) -> bool:
        """Reads what the peer sent; False when it sends no more."""
        chunk = self._socket.recv(_CHUNK_BYTES)
        with self._state:
            self._incoming.write(chunk)
            if not chunk:
                self._incoming.write_eof()
        return bool(chunk)

    def _flush(self) -> None:
        """Sends what reading made necessary (key updates); while a writer is busy, it takes it along."""
        if self._outgoing.pending and self._wire.acquire(blocking=False):
            try:
                with self._state:
                    records = self._outgoing.read()
                self._socket.sendall(records)
            finally:
                self._wire.release()

    # As they are.

    def getsockname(self) -> object:
        return self._socket.getsockname()

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - as a socket has it
        self._socket.setblocking(flag)

    def shutdown(self, how: int) -> None:
        self._socket.shutdown(how)

    def close(self) -> None:
        self._socket.close()


def reason_of(error: ssl.SSLError) -> str:
    """What OpenSSL says, without its numbers and the line of its source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: the certificate is not trusted: {error.verify_message}"
    return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
