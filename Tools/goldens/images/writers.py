"""Writers for the corners of PNG and BMP that Pillow cannot write."""

import struct
import zlib

import numpy as np


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _filtered(rows: list[bytes], pixel_bytes: int) -> bytes:
    """Filters rows with all five PNG filters in turn."""
    out = bytearray()
    previous = bytes(len(rows[0])) if rows else b""
    for number, row in enumerate(rows):
        kind = number % 5
        line = bytearray([kind])
        for i, value in enumerate(row):
            left = row[i - pixel_bytes] if i >= pixel_bytes else 0
            up = previous[i]
            corner = previous[i - pixel_bytes] if i >= pixel_bytes else 0
            if kind == 4:
                estimate = left + up - corner
                candidates = [(abs(estimate - left), 0, left), (abs(estimate - up), 1, up), (abs(estimate - corner), 2, corner)]
                prediction = min(candidates)[2]
            else:
                prediction = (0, left, up, (left + up) // 2)[kind]
            line.append((value - prediction) & 255)
        out += line
        previous = row
    return bytes(out)


def _packed(samples: np.ndarray, depth: int) -> list[bytes]:
    """[h, w, channels] samples to packed rows."""
    if depth == 16:
        return [row.astype(">u2").tobytes() for row in samples]
    if depth == 8:
        return [row.astype(np.uint8).tobytes() for row in samples]
    rows = []
    for row in samples[:, :, 0]:
        bits = "".join(format(int(value), f"0{depth}b") for value in row)
        bits += "0" * (-len(bits) % 8)
        rows.append(bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)))
    return rows


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(samples, depth, color, *, palette=None, transparency=None, interlaced=False, before=(), after=(), split=0) -> bytes:
    """A PNG of [h, w, channels] samples; `before` and `after` are (name, data) chunks around the pixels."""
    height, width, channels = samples.shape
    pixel_bytes = max(1, depth * channels // 8)
    if interlaced:
        body = b""
        for left, top, dx, dy in ADAM7:
            part = samples[top::dy, left::dx]
            if part.size:
                body += _filtered(_packed(part, depth), pixel_bytes)
    else:
        body = _filtered(_packed(samples, depth), pixel_bytes)
    body = zlib.compress(body, 9)
    out = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced)))
    for name, data in before:
        out += png_chunk(name, data)
    if palette is not None:
        out += png_chunk(b"PLTE", palette)
    if transparency is not None:
        out += png_chunk(b"tRNS", transparency)
    pieces = [body] if not split else [body[i : i + split] for i in range(0, len(body), split)]
    for piece in pieces:
        out += png_chunk(b"IDAT", piece)
    for name, data in after:
        out += png_chunk(name, data)
    return out + png_chunk(b"IEND", b"")


def bmp_rows(values: np.ndarray, bits: int) -> list[bytes]:
    """Packed, padded rows from the picture's top; `values` is [h, w] indices or words, or [h, w, bytes]."""
    rows = []
    for row in values:
        if bits < 8:
            text = "".join(format(int(value), f"0{bits}b") for value in row)
            text += "0" * (-len(text) % 8)
            packed = bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
        elif bits == 16:
            packed = row.astype("<u2").tobytes()
        else:
            packed = row.astype(np.uint8).tobytes()
        rows.append(packed + bytes(-len(packed) % 4))
    return rows


def bmp(width, height, bits, body, *, palette=b"", compression=0, masks=b"", header=40, top_down=False, colors=0) -> bytes:
    stored = -height if top_down else height
    info = struct.pack("<IiiHHIIiiII", header, width, stored, 1, bits, compression, len(body), 2835, 2835, colors, 0)
    if header > 40:
        info += masks.ljust(header - 40, b"\0")
        masks = b""
    offset = 14 + len(info) + len(masks) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + info + masks + palette + body


def bmp_os2(width, height, bits, body, palette=b"") -> bytes:
    info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    offset = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + info + palette + body


def gif_lzw(indices: bytes, minimum: int) -> bytes:
    """GIF's LZW with a real dictionary, in sub-blocks."""
    clear, end = 1 << minimum, (1 << minimum) + 1
    bits, count = 0, 0
    out = bytearray()

    def emit(code, width):
        nonlocal bits, count
        bits |= code << count
        count += width
        while count >= 8:
            out.append(bits & 255)
            bits >>= 8
            count -= 8

    width, table = minimum + 1, {bytes([i]): i for i in range(clear)}
    emit(clear, width)
    current = b""
    for value in indices:
        longer = current + bytes([value])
        if longer in table:
            current = longer
            continue
        emit(table[current], width)
        table[longer] = len(table) + 2
        if len(table) + 2 > (1 << width) and width < 12:
            width += 1
        elif len(table) + 2 >= 4095:
            emit(clear, width)
            width, table = minimum + 1, {bytes([i]): i for i in range(clear)}
        current = bytes([value])
    emit(table[current], width)
    emit(end, width)
    if count:
        out.append(bits & 255)
    blocks = b"".join(bytes([len(out[i : i + 255])]) + bytes(out[i : i + 255]) for i in range(0, len(out), 255))
    return bytes([minimum]) + blocks + b"\0"


def gif(screen, frame, indices: np.ndarray, minimum, *, palette=b"", local=b"", interlaced=False, transparent=None) -> bytes:
    """One frame; `screen` is (w, h), `frame` is (left, top)."""
    height, width = indices.shape

    def size(colors):
        return (len(colors) // 3).bit_length() - 2

    out = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80 | size(palette) if palette else 0, 0, 0) + palette
    if transparent is not None:
        out += b"!\xf9\x04" + struct.pack("<BHB", 1, 0, transparent) + b"\0"
    flags = (0x80 | size(local) if local else 0) | (0x40 if interlaced else 0)
    order = list(range(height))
    if interlaced:
        order = [y for start, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in range(start, height, step)]
    data = b"".join(indices[y].astype(np.uint8).tobytes() for y in order)
    return out + b"," + struct.pack("<HHHHB", *frame, width, height, flags) + local + gif_lzw(data, minimum) + b";"
