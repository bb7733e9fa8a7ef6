"""A second decoder of the wire, written to be obvious: it has all bytes at once and never looks back."""

from __future__ import annotations

from abraxas_py.protocol.packets import Type

__all__ = ["decode"]

KNOWN = {int(type) for type in Type}

# ("packet", type, body), ("line", text), ("error", code), or ("end", code) after which nothing counts.
Found = tuple[str | int | bytes, ...]


def decode(octets: bytes, magic: bytes, max_packet_bytes: int, max_line_bytes: int) -> list[Found]:
    """All that the octets of a peer that uses `magic` say; what is not complete says nothing."""
    found: list[Found] = []
    while octets:
        if octets[:1] != b"\0":
            text, newline, rest = octets.partition(b"\n")
            if len(text) > max_line_bytes:
                return [*found, ("end", "ARGUMENT_TOO_LARGE")]
            if not newline:
                return found
            found.append(("line", text[:-1] if text.endswith(b"\r") else text))
            octets = rest
            continue
        header, octets = octets[:12], octets[12:]
        if len(header) < 12:
            return found
        number = int.from_bytes(header[4:8], "big")
        size = int.from_bytes(header[8:12], "big")
        if header[:4] not in (b"\0REQ", b"\0RES"):
            return [*found, ("end", "INVALID_MAGIC")]
        if number not in KNOWN:
            return [*found, ("end", "INVALID_COMMAND")]
        if size > max_packet_bytes:
            return [*found, ("end", "ARGUMENT_TOO_LARGE")]
        if len(octets) < size:
            return found
        found.append(("packet", number, octets[:size]) if header[:4] == magic else ("error", "INVALID_MAGIC"))
        octets = octets[size:]
    return found
