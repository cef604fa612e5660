"""Writes Tests/Fixtures/images: picture files in every decoded format, and what the reference makes of them.

    python Tools/goldens/images/generate.py

needs the packages of requirements.txt, at exactly these versions: they define the expected results. Pillow must be older than
13, which chooses the order of its resampling passes by cost.
"""

import hashlib
import io
import json
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
import torchvision.transforms.v2.functional as tvF
import transformers
from PIL import Image
from transformers.image_utils import load_image

sys.path.insert(0, str(Path(__file__).parent))
import writers  # noqa: E402
from pictures import pattern, scene  # noqa: E402

OUT = Path(__file__).resolve().parents[3] / "Tests/Fixtures/images"
PINS = {"pillow": PIL.__version__, "torch": torch.__version__.split("+")[0],
        "torchvision": torchvision.__version__.split("+")[0], "transformers": transformers.__version__}
warnings.simplefilter("ignore")
torch.set_num_threads(1)


def sha(data) -> str:
    return hashlib.sha256(data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes()).hexdigest()


def encoded(array_or_image, kind, **options) -> bytes:
    image = array_or_image if isinstance(array_or_image, Image.Image) else Image.fromarray(array_or_image)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def exif(orientation: int, big_endian=False) -> bytes:
    order = ">" if big_endian else "<"
    head = b"MM\0*" if big_endian else b"II*\0"
    entries = [(256, 4, 1, 1), (274, 3, 1, orientation)]
    body = struct.pack(order + "IH", 8, len(entries))
    for tag, kind, count, value in entries:
        body += struct.pack(order + "HHI", tag, kind, count)
        body += struct.pack(order + ("HH" if kind == 3 else "I"), *((value, 0) if kind == 3 else (value,)))
    return b"Exif\0\0" + head + body + struct.pack(order + "I", 0)


def resampled(jpeg: bytes, width: int, height: int, sampling: int) -> bytes:
    """Rewrites the size and the luminance sampling in a baseline frame header."""
    at = jpeg.index(b"\xff\xc0")
    out = bytearray(jpeg)
    out[at + 5 : at + 9] = struct.pack(">HH", height, width)
    out[at + 11] = sampling
    return bytes(out)


XMP = ('<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>').encode()


def jpegs():
    photo = scene(61, 43, 1)
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"jpeg-{name}.jpg", encoded(photo, "JPEG", quality=90, subsampling=sampling)
        yield f"jpeg-{name}-progressive.jpg", encoded(photo, "JPEG", quality=80, subsampling=sampling, progressive=True)
    # Samplings that Pillow does not write: the same blocks, declared as another grid with as many units.
    yield "jpeg-440.jpg", resampled(encoded(photo, "JPEG", quality=85, subsampling=1), 43, 61, 0x12)
    yield "jpeg-411.jpg", resampled(encoded(scene(64, 48, 4), "JPEG", quality=85, subsampling=2), 96, 32, 0x41)
    yield "jpeg-420-wide.jpg", encoded(scene(257, 131, 2), "JPEG", quality=75, subsampling=2)
    yield "jpeg-low-quality.jpg", encoded(photo, "JPEG", quality=5)
    yield "jpeg-optimized.jpg", encoded(photo, "JPEG", quality=70, optimize=True)
    yield "jpeg-restarts.jpg", encoded(photo, "JPEG", quality=70, restart_marker_blocks=2)
    yield "jpeg-gray.jpg", encoded(photo[:, :, 0], "JPEG", quality=90)
    yield "jpeg-gray-progressive.jpg", encoded(photo[:, :, 1], "JPEG", quality=90, progressive=True)
    yield "jpeg-rgb.jpg", encoded(photo, "JPEG", quality=90, keep_rgb=True)
    cmyk = Image.fromarray(np.concatenate([photo, photo[::-1, :, :1]], axis=2), "CMYK")
    stored = encoded(cmyk, "JPEG", quality=90)
    yield "jpeg-cmyk.jpg", stored
    yield "jpeg-cmyk-progressive.jpg", encoded(cmyk, "JPEG", quality=90, progressive=True)
    # The same samples declared as YCCK: transform 2 in the Adobe segment.
    at = stored.index(b"Adobe")
    yield "jpeg-ycck.jpg", stored[: at + 11] + b"\x02" + stored[at + 12 :]
    # Without the Adobe segment the four channels are plain CMYK.
    yield "jpeg-cmyk-plain.jpg", stored[: at - 4] + stored[at + 12 :]
    yield "jpeg-1x1.jpg", encoded(photo[:1, :1], "JPEG")
    for orientation in range(1, 9):
        yield f"exif-{orientation}.jpg", encoded(photo[:21, :34], "JPEG", quality=85, exif=exif(orientation, orientation % 2 == 0))
    yield "exif-9.jpg", encoded(photo[:21, :34], "JPEG", exif=exif(9))
    yield "exif-cmyk.jpg", encoded(cmyk, "JPEG", exif=exif(5))
    yield "xmp-6.jpg", encoded(photo[:21, :34], "JPEG", xmp=XMP)
    yield "exif-and-xmp.jpg", encoded(photo[:21, :34], "JPEG", exif=exif(3), xmp=XMP)


def pngs():
    rng = np.random.default_rng(3)
    for interlaced in (False, True):
        tail = "-interlaced" if interlaced else ""
        for depth in (1, 2, 4, 8, 16):
            samples = rng.integers(0, 1 << depth, (13, 21, 1))
            if depth == 16:
                samples[:4] = rng.integers(0, 400, (4, 21, 1))
            yield f"png-gray-{depth}{tail}.png", writers.png(samples, depth, 0, interlaced=interlaced)
        for depth in (1, 2, 4, 8):
            colors = min(1 << depth, 200)
            palette = rng.integers(0, 256, colors * 3, dtype=np.uint8).tobytes()
            samples = rng.integers(0, colors, (13, 21, 1))
            yield f"png-palette-{depth}{tail}.png", writers.png(samples, depth, 3, palette=palette, interlaced=interlaced)
        for depth in (8, 16):
            for color, channels, name in ((2, 3, "rgb"), (4, 2, "gray-alpha"), (6, 4, "rgba")):
                samples = rng.integers(0, 1 << depth, (11, 18, channels))
                yield f"png-{name}-{depth}{tail}.png", writers.png(samples, depth, color, interlaced=interlaced)
    small = rng.integers(0, 4, (9, 10, 1))
    palette = bytes(range(10, 22))
    yield "png-palette-trns.png", writers.png(small, 8, 3, palette=palette, transparency=bytes([0, 128, 255]))
    yield "png-palette-trns-one.png", writers.png(small, 2, 3, palette=palette, transparency=bytes([255, 0]))
    yield "png-palette-short.png", writers.png(small + 1, 8, 3, palette=palette[:9])
    yield "png-gray-trns.png", writers.png(small * 60, 8, 0, transparency=struct.pack(">H", 60))
    yield "png-gray-16-trns.png", writers.png(small * 60, 16, 0, transparency=struct.pack(">H", 60))
    rgb = rng.integers(0, 256, (9, 10, 3))
    yield "png-rgb-trns.png", writers.png(rgb, 8, 2, transparency=struct.pack(">HHH", *map(int, rgb[0, 0])))
    yield "png-1x1.png", writers.png(rgb[:1, :1], 8, 2)
    yield "png-1x1-interlaced.png", writers.png(rgb[:1, :1], 8, 2, interlaced=True)
    yield "png-many-idat.png", writers.png(rgb, 8, 2, split=7)
    yield "png-exif-6.png", writers.png(rgb, 8, 2, before=[(b"eXIf", exif(6)[6:])])
    yield "png-exif-late.png", writers.png(rgb, 8, 2, after=[(b"eXIf", exif(8)[6:])])
    raw = "\nexif\n%8d\n%s\n" % (len(exif(3)), exif(3).hex())
    yield "png-raw-exif.png", writers.png(rgb, 8, 2, before=[(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw.encode()))])
    itxt = b"XML:com.adobe.xmp\0\0\0\0\0" + XMP
    yield "png-xmp.png", writers.png(rgb, 8, 2, before=[(b"iTXt", itxt)])
    frames = [Image.fromarray(scene(20, 16, seed)) for seed in (5, 6)]
    yield "png-animated.png", encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=50)
    yield "png-scene.png", encoded(scene(90, 70, 7), "PNG")


def webps():
    photo = scene(53, 38, 8)
    alpha = np.concatenate([photo, photo[:, ::-1, :1]], axis=2)
    alpha[:10, :10, 3] = 0
    yield "webp-lossy.webp", encoded(photo, "WEBP", quality=70)
    yield "webp-lossless.webp", encoded(photo, "WEBP", lossless=True)
    yield "webp-lossy-alpha.webp", encoded(alpha, "WEBP", quality=60)
    yield "webp-lossless-alpha.webp", encoded(alpha, "WEBP", lossless=True, exact=True)
    yield "webp-1x1.webp", encoded(photo[:1, :1], "WEBP")
    yield "webp-exif.webp", encoded(photo, "WEBP", quality=50, exif=exif(7))
    yield "webp-xmp.webp", encoded(photo, "WEBP", quality=50, xmp=XMP)
    frames = [Image.fromarray(scene(40, 30, seed)) for seed in (9, 10, 11)]
    animated = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=40, quality=60)
    yield "webp-animated.webp", animated
    clear = [Image.fromarray(np.dstack([scene(40, 30, s), np.full((30, 40), 90 + s, np.uint8)])) for s in (12, 13)]
    yield "webp-animated-alpha.webp", encoded(clear[0], "WEBP", save_all=True, append_images=clear[1:], duration=40)
    # A canvas larger than its frame: 60x44, with the frame at (4, 6).
    canvas = bytearray(animated)
    at = canvas.index(b"VP8X") + 8
    canvas[at + 4 : at + 10] = (59).to_bytes(3, "little") + (43).to_bytes(3, "little")
    at = canvas.index(b"ANMF") + 8
    canvas[at : at + 6] = (2).to_bytes(3, "little") + (3).to_bytes(3, "little")
    yield "webp-animated-offset.webp", bytes(canvas)


def gifs():
    rng = np.random.default_rng(14)
    palette = rng.integers(0, 256, 48, dtype=np.uint8).tobytes()
    indices = rng.integers(0, 16, (19, 27))
    yield "gif-palette.gif", writers.gif((27, 19), (0, 0), indices, 4, palette=palette)
    yield "gif-interlaced.gif", writers.gif((27, 19), (0, 0), indices, 4, palette=palette, interlaced=True)
    yield "gif-local-palette.gif", writers.gif((27, 19), (0, 0), indices, 4, palette=palette, local=palette[::-1])
    yield "gif-offset.gif", writers.gif((40, 30), (5, 7), indices, 4, palette=palette)
    yield "gif-offset-transparent.gif", writers.gif((40, 30), (5, 7), indices, 4, palette=palette, transparent=9)
    yield "gif-larger-than-screen.gif", writers.gif((20, 30), (5, 2), indices, 4, palette=palette)
    yield "gif-no-palette.gif", writers.gif((27, 19), (0, 0), indices * 13, 8)
    yield "gif-gray-palette.gif", writers.gif((27, 19), (0, 0), indices, 8, palette=bytes(v for i in range(16) for v in (i, i, i)))
    yield "gif-1x1.gif", writers.gif((1, 1), (0, 0), indices[:1, :1], 4, palette=palette)
    yield "gif-two-colors.gif", writers.gif((27, 19), (0, 0), indices % 2, 2, palette=palette[:6])
    photo = Image.fromarray(scene(120, 90, 15))
    yield "gif-scene.gif", encoded(photo.quantize(256), "GIF")
    frames = [photo.resize((30, 24)).quantize(32), photo.rotate(20).resize((30, 24)).quantize(32)]
    yield "gif-animated.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)
    # Enough repetition and noise to fill the dictionary and clear it.
    yield "gif-full-dictionary.gif", writers.gif(
        (160, 120), (0, 0), np.where(np.arange(120)[:, None] % 3 == 0, 7, rng.integers(0, 256, (120, 160))), 8,
        palette=rng.integers(0, 256, 768, dtype=np.uint8).tobytes())


def rle(indices: np.ndarray, bits: int) -> bytes:
    """Runs, literals and ends of line; rows from the bottom. Literals have even lengths, which Pillow reads correctly."""
    out = bytearray()
    for row in indices[::-1]:
        x = 0
        while x < len(row):
            run = 1
            while x + run < len(row) and run < 200 and row[x + run] == row[x]:
                run += 1
            literal = 8 if bits == 4 else 6
            if run < 3 and x + literal <= len(row):
                part = [int(v) for v in row[x : x + literal]]
                packed = bytes(part) if bits == 8 else bytes(part[i] << 4 | part[i + 1] for i in range(0, literal, 2))
                out += bytes([0, literal]) + packed + bytes(-len(packed) % 2)
                x += literal
            else:
                value = int(row[x])
                out += bytes([run, value if bits == 8 else value << 4 | value])
                x += run
        out += b"\0\0"
    return bytes(out) + b"\0\1"


def bmps():
    rng = np.random.default_rng(16)
    width, height = 23, 11
    bgr = rng.integers(0, 256, (height, width, 3))
    bgrx = rng.integers(0, 256, (height, width, 4))
    words = rng.integers(0, 65536, (height, width))

    def palette(colors, entry=4):
        out = rng.integers(0, 256, (colors, entry), dtype=np.uint8)
        out[:, 3:] = 0
        return out.tobytes()

    def body(values, bits, top_down=False):
        rows = writers.bmp_rows(values, bits)
        return b"".join(rows if top_down else rows[::-1])

    for bits in (1, 4, 8):
        indices = rng.integers(0, 1 << bits, (height, width))
        yield f"bmp-{bits}.bmp", writers.bmp(width, height, bits, body(indices, bits), palette=palette(1 << bits))
        yield f"bmp-os2-{bits}.bmp", writers.bmp_os2(width, height, bits, body(indices, bits), palette(1 << bits, 3))
    two = rng.integers(0, 2, (height, width))
    yield "bmp-1-black-white.bmp", writers.bmp(width, height, 1, body(two, 1), palette=b"\0\0\0\0\xff\xff\xff\0")
    yield "bmp-1-white-black.bmp", writers.bmp(width, height, 1, body(two, 1), palette=b"\xff\xff\xff\0\0\0\0\0")
    gray = bytes(v for i in range(256) for v in (i, i, i, 0))
    indices = rng.integers(0, 256, (height, width))
    yield "bmp-8-gray.bmp", writers.bmp(width, height, 8, body(indices, 8), palette=gray)
    yield "bmp-8-few-colors.bmp", writers.bmp(width, height, 8, body(indices % 9, 8), palette=palette(7), colors=7)
    yield "bmp-8-top-down.bmp", writers.bmp(width, height, 8, body(indices, 8, True), palette=palette(256), top_down=True)
    yield "bmp-16.bmp", writers.bmp(width, height, 16, body(words, 16))
    yield "bmp-16-565.bmp", writers.bmp(width, height, 16, body(words, 16), compression=3, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F))
    yield "bmp-16-555.bmp", writers.bmp(width, height, 16, body(words, 16), compression=3, masks=struct.pack("<III", 0x7C00, 0x3E0, 0x1F), header=56)
    yield "bmp-24.bmp", writers.bmp(width, height, 24, body(bgr, 24))
    yield "bmp-24-top-down.bmp", writers.bmp(width, height, 24, body(bgr, 24, True), top_down=True)
    yield "bmp-os2-24.bmp", writers.bmp_os2(width, height, 24, body(bgr, 24))
    yield "bmp-32.bmp", writers.bmp(width, height, 32, body(bgrx, 32))
    for name, masks, header in (
        ("bgrx", (0xFF0000, 0xFF00, 0xFF), 40), ("rgba", (0xFF, 0xFF00, 0xFF0000, 0xFF000000), 124),
        ("bgra", (0xFF0000, 0xFF00, 0xFF, 0xFF000000), 108), ("xbgr", (0xFF000000, 0xFF0000, 0xFF00, 0), 56),
    ):
        yield f"bmp-32-{name}.bmp", writers.bmp(
            width, height, 32, body(bgrx, 32), compression=3, masks=struct.pack(f"<{len(masks)}I", *masks), header=header)
    runs = np.repeat(rng.integers(0, 256, (height, 8)), 3, axis=1)[:, :width]
    runs[:, :9] = rng.integers(0, 256, (height, 9))
    yield "bmp-rle8.bmp", writers.bmp(width, height, 8, rle(runs, 8), palette=palette(256), compression=1)
    yield "bmp-rle4.bmp", writers.bmp(width, height, 4, rle(runs % 16, 4), palette=palette(16), compression=2)
    # A jump of 3 columns and 1 row, then a run, then the end after all rows are filled.
    jump = b"\x05\x21\0\2\x03\x01\x04\x22\0\0" + b"".join(bytes([width, i]) + b"\0\0" for i in range(height - 2)) + b"\0\1"
    yield "bmp-rle8-jump.bmp", writers.bmp(width, height, 8, jump, palette=palette(256), compression=1)
    yield "bmp-1x1.bmp", writers.bmp(1, 1, 24, body(bgr[:1, :1], 24))


FILTERS = {"nearest": tvF.InterpolationMode.NEAREST, "bilinear": tvF.InterpolationMode.BILINEAR, "bicubic": tvF.InterpolationMode.BICUBIC}
PIL_FILTERS = {"box": Image.BOX, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}

SIZES = [  # input width and height, output width and height
    (97, 61, 49, 31), (97, 61, 200, 131), (97, 61, 96, 60), (97, 61, 98, 62), (97, 61, 97, 30), (97, 61, 40, 61),
    (97, 61, 1, 1), (1, 1, 5, 7), (1, 1, 33, 1), (1, 40, 20, 20), (40, 1, 20, 20), (2, 2, 3, 3), (3, 2, 64, 64),
    (640, 3, 7, 90), (3, 640, 90, 7), (1000, 17, 10, 170), (17, 1000, 170, 10), (255, 256, 256, 255), (31, 33, 448, 448),
    (640, 480, 448, 448), (641, 479, 644, 476), (1280, 720, 1204, 672), (513, 1027, 112, 224), (5, 5, 4, 4), (64, 64, 32, 32),
    (64, 64, 128, 128), (2000, 9, 3, 9), (12, 300, 12, 7), (100, 100, 99, 1), (333, 222, 11, 222),
]


def resizes():
    for number, (width, height, new_width, new_height) in enumerate(SIZES):
        picture = pattern(width, height, number)
        tensor = torch.from_numpy(picture).permute(2, 0, 1)
        results = {}
        for name, mode in FILTERS.items():
            out = tvF.resize(tensor, [new_height, new_width], interpolation=mode, antialias=True)
            results[f"torch-{name}"] = sha(out.permute(1, 2, 0).contiguous().numpy())
        for name, mode in PIL_FILTERS.items():
            results[f"pillow-{name}"] = sha(np.asarray(Image.fromarray(picture).resize((new_width, new_height), mode)))
        yield {"input": [width, height], "output": [new_width, new_height], "seed": number, "sha256": results}


def float_resizes():
    rng = np.random.default_rng(17)
    for (h, w, nh, nw) in [(7, 9, 13, 5), (24, 24, 10, 33), (16, 16, 16, 30), (1, 3, 4, 4), (30, 50, 12, 12)]:
        values = pattern(w, h, 50).astype(np.float32) / 128 - 1
        tensor = torch.from_numpy(values).permute(2, 0, 1)[None]
        for mode in ("bilinear", "bicubic"):
            for antialias in (False, True):
                out = torch.nn.functional.interpolate(tensor, size=(nh, nw), mode=mode, align_corners=False, antialias=antialias)
                yield {"input": [w, h], "output": [nw, nh], "filter": mode, "antialias": antialias}, out[0].numpy().astype("<f4")


def qwen():
    from transformers import Qwen2VLImageProcessor

    for number, (width, height, low, high) in enumerate([
        (61, 43, 3136, 1003520), (28, 28, 3136, 1003520), (1, 1, 3136, 12845056), (300, 17, 3136, 1003520),
        (70, 98, 56 * 56, 12845056), (641, 479, 3136, 200704), (42, 126, 784, 100352), (500, 333, 50176, 50176 * 2),
    ]):
        processor = Qwen2VLImageProcessor(min_pixels=low, max_pixels=high)
        out = processor(Image.fromarray(pattern(width, height, number)), return_tensors="np")
        values = out["pixel_values"].astype("<f4")
        yield {"input": [width, height], "seed": number, "minPixels": low, "maxPixels": high, "patch": 14,
               "grid": out["image_grid_thw"][0].tolist(), "rows": list(values.shape), "sha256": sha(values)}
    # Qwen3-VL's geometry: patches of 16 and means of one half.
    processor = Qwen2VLImageProcessor(min_pixels=65536, max_pixels=262144, patch_size=16, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    out = processor(Image.fromarray(pattern(333, 200, 20)), return_tensors="np")
    values = out["pixel_values"].astype("<f4")
    yield {"input": [333, 200], "seed": 20, "minPixels": 65536, "maxPixels": 262144, "patch": 16,
           "grid": out["image_grid_thw"][0].tolist(), "rows": list(values.shape), "sha256": sha(values)}


def smart_resizes():
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    rng = np.random.default_rng(18)
    fixed = [(70, 42, 28), (14, 14, 28), (42, 42, 28), (126, 98, 28), (1, 200, 28), (3000, 4000, 28), (80, 48, 32), (112, 112, 32)]
    drawn = [(int(a), int(b), f) for a, b in rng.integers(1, 5000, (300, 2)) for f in (28, 32) if max(a, b) / min(a, b) <= 200]
    for height, width, factor in fixed + drawn:
        yield [height, width, factor, *smart_resize(height, width, factor, 3136, 1003520)]


def original_tiles(image, min_num, max_num, size, thumbnail):
    """`dynamic_preprocess` as the InternVL checkpoints' remote code states it: the published rule, in our words."""
    width, height = image.size
    ratio = width / height
    grids = {(i, j) for n in range(min_num, max_num + 1) for i in range(1, n + 1) for j in range(1, n + 1)
             if min_num <= i * j <= max_num}
    best, difference = (1, 1), float("inf")
    for grid in sorted(grids, key=lambda g: g[0] * g[1]):
        d = abs(ratio - grid[0] / grid[1])
        if d < difference:
            best, difference = grid, d
        elif d == difference and width * height > 0.5 * size * size * grid[0] * grid[1]:
            best = grid
    canvas = image.resize((size * best[0], size * best[1]), Image.BICUBIC)
    tiles = [canvas.crop((x * size, y * size, (x + 1) * size, (y + 1) * size)) for y in range(best[1]) for x in range(best[0])]
    if thumbnail and len(tiles) > 1:
        tiles.append(image.resize((size, size), Image.BICUBIC))
    return best, tiles


def internvl():
    from torchvision import transforms as T
    from transformers import GotOcr2ImageProcessor

    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    cases = [(61, 43, 1, 12), (100, 100, 1, 12), (224, 112, 1, 6), (37, 301, 1, 12), (901, 40, 1, 4), (320, 320, 1, 9),
             (333, 222, 2, 5), (1, 1, 1, 12), (64, 32, 1, 1), (640, 480, 1, 12)]
    for number, (width, height, low, high) in enumerate(cases):
        size = 56
        picture = Image.fromarray(pattern(width, height, number))
        processor = GotOcr2ImageProcessor(
            size={"height": size, "width": size}, crop_to_patches=True, min_patches=low, max_patches=high, image_mean=mean,
            image_std=std)
        values = torch.stack(list(processor(picture)["pixel_values"])).numpy().astype("<f4")
        grid, tiles = original_tiles(picture, low, high, size, True)
        transform = T.Compose([T.ToTensor(), T.Normalize(mean, std)])
        original = torch.stack([transform(tile) for tile in tiles]).numpy().astype("<f4")
        yield {"input": [width, height], "seed": number, "minTiles": low, "maxTiles": high, "size": size,
               "grid": list(grid), "count": values.shape[0], "huggingFace": sha(values), "original": sha(original)}


def tile_grids():
    from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

    rng = np.random.default_rng(19)
    for width, height in rng.integers(1, 3000, (400, 2)).tolist() + [[k * 448, 448] for k in range(1, 14)]:
        for high in (1, 4, 6, 12):
            yield [width, height, high, *get_optimal_tiled_canvas((height, width), (448, 448), 1, high)]


def main():
    for old in OUT.glob("*"):
        old.unlink()
    OUT.mkdir(parents=True, exist_ok=True)
    manifest = {"generator": "Tools/goldens/images/generate.py", "pins": PINS, "decode": []}
    for group in (jpegs, pngs, webps, gifs, bmps):
        for name, data in group():
            (OUT / name).write_bytes(data)
            pixels = np.asarray(load_image(str(OUT / name)))
            manifest["decode"].append({
                "file": name, "fileSHA256": sha(data), "width": pixels.shape[1], "height": pixels.shape[0], "sha256": sha(pixels)})
    manifest["resize"] = list(resizes())
    manifest["qwen"] = list(qwen())
    manifest["smartResize"] = list(smart_resizes())
    manifest["internvl"] = list(internvl())
    manifest["tileGrids"] = list(tile_grids())
    manifest["resizeFloat"] = []
    values = b""
    for entry, out in float_resizes():
        manifest["resizeFloat"].append({**entry, "offset": len(values), "count": out.size})
        values += out.tobytes()
    (OUT / "resize-float.bin").write_bytes(values)
    manifest["resizeFloatSHA256"] = sha(values)
    sections = [f"{json.dumps(key)}: {compact(value)}" for key, value in manifest.items()]
    (OUT / "manifest.json").write_text("{\n" + ",\n".join(sections) + "\n}\n")
    total = sum(f.stat().st_size for f in OUT.glob("*"))
    print(f"{len(manifest['decode'])} files, {total} bytes")


def compact(value) -> str:
    """Lists of records one record a line, so that differences read well."""
    if not isinstance(value, list) or not value or isinstance(value[0], list):
        return json.dumps(value, separators=(",", ":"))
    return "[\n" + ",\n".join(json.dumps(item) for item in value) + "\n]"


if __name__ == "__main__":
    main()
