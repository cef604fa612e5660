"""Pictures that Python and the Swift tests make alike, so that none of them need be stored."""

import numpy as np


def pattern(width: int, height: int, seed: int) -> np.ndarray:
    """[height, width, 3] uint8: smooth ramps, hard edges and noise from an integer hash of the position."""
    y, x, c = np.meshgrid(
        np.arange(height, dtype=np.uint64), np.arange(width, dtype=np.uint64), np.arange(3, dtype=np.uint64), indexing="ij"
    )
    value = (x * 73856093 + y * 19349663 + c * 83492791 + seed * 2654435761) & 0xFFFFFFFF
    value = (value ^ (value >> 13)) * 1540483477 & 0xFFFFFFFF
    value = (value ^ (value >> 15)) & 0xFFFFFFFF
    noise = value >> 24
    ramp = (x * 3 + y * 5 + c * 80) & 255
    edge = ((x // 7 + y // 5) & 1) * 255
    kind = ((x // 16) + (y // 16) + seed) % 3
    out = np.where(kind == 0, noise, np.where(kind == 1, ramp, edge))
    return out.astype(np.uint8)


def scene(width: int, height: int, seed: int) -> np.ndarray:
    """[height, width, 3] uint8 of smooth blobs and lines: it compresses as photographs do."""
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    out = np.zeros((height, width, 3))
    rng = np.random.default_rng(seed)
    for _ in range(6):
        cx, cy, radius = rng.random(3)
        color = rng.random(3) * 255
        weight = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (0.02 + radius * 0.1))
        out += weight[..., None] * color
    out[(np.abs(x - y) < 0.03)] = (250, 20, 30)
    out += rng.normal(0, 4, out.shape)
    return np.clip(out, 0, 255).astype(np.uint8)
