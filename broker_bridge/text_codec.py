"""Text of a TextMessage as bytes, both ways: UTF-8, or the modified UTF-8 of Java (java.io.DataInput).

Modified UTF-8 writes U+0000 as C0 80 and characters beyond U+FFFF as two surrogates of three bytes each. Neither is
valid UTF-8, so what arrives tells its form; what is sent has to be in the form the broker takes. Brokers with AMQ-8398
decode UTF-8; older ones pass the bytes on to Java consumers, whose `getText` takes the modified form alone.
"""

import re
import struct

# The releases of ActiveMQ Classic that decode UTF-8 (AMQ-8398): the third number from which on, per line.
_DECODING = {(5, 18): 6, (6, 0): 99, (6, 1): 4}
_FIRST_DECODING = (5, 19)
_CLASSIC = re.compile(r"ActiveMQ/(\d+)\.(\d+)\.(\d+)")


class TextError(ValueError):
    """Bytes that are no text; the message says where."""


def decode_text(body: bytes) -> str:
    """Text from UTF-8 or from modified UTF-8.

    Raises:
        TextError: when the bytes are neither, or hold half of a surrogate pair.
    """
    try:
        return body.decode()
    except UnicodeDecodeError:
        pass
    try:
        halves = body.replace(b"\xc0\x80", b"\x00").decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise TextError(f"the body is not UTF-8: byte 0x{body[error.start]:02x} at offset {error.start}") from None
    try:
        return halves.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise TextError(f"the body holds half of a surrogate pair near character {error.start // 2}") from None


def encode_text(text: str, server: str) -> tuple[dict[str, str], bytes]:
    """Headers and body of a SEND that makes a TextMessage; `server` is what the broker calls itself in CONNECTED.

    Half a surrogate pair, which no text holds, becomes a question mark.
    """
    sound = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") if _has_halves(text) else text
    if not decodes_utf8(server):
        return {}, modified_utf8(sound)
    body = sound.encode()
    if b"\x00" in body:  # it would end a frame without a length; the broker keeps both headers as properties
        return {"content-length": str(len(body)), "amq-msg-type": "text"}, body
    return {}, body


def decodes_utf8(server: str) -> bool:
    """Whether a broker of this name takes UTF-8; one that is not ActiveMQ Classic does, as STOMP says."""
    named = _CLASSIC.match(server)
    if named is None:
        return True
    major, minor, patch = (int(number) for number in named.groups())
    if (major, minor) in _DECODING:
        return patch >= _DECODING[major, minor]
    return (major, minor) >= _FIRST_DECODING


def modified_utf8(text: str) -> bytes:
    """Text in the form of java.io.DataOutput."""
    if text.isascii() and "\x00" not in text:
        return text.encode()
    pairs = text.encode("utf-16-le", "surrogatepass")
    units = struct.unpack(f"<{len(pairs) // 2}H", pairs)
    return "".join(map(chr, units)).encode("utf-8", "surrogatepass").replace(b"\x00", b"\xc0\x80")


def _has_halves(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
