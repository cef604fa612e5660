"""Times the reference on one core, for comparison with the test `PreprocessingBenchmark`.

    OMP_NUM_THREADS=1 python Tools/goldens/images/benchmark.py photo.jpg
    VLM_BENCHMARK_IMAGE=photo.jpg swift test -c release --filter PreprocessingBenchmark

writes photo.jpg, a synthetic 12-megapixel JPEG, if it does not exist, and prints the least processor time of several runs.
"""

import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import Qwen2VLImageProcessor
from transformers.image_utils import load_image

sys.path.insert(0, str(Path(__file__).parent))
from pictures import scene  # noqa: E402

warnings.simplefilter("ignore")
torch.set_num_threads(1)


def photo(path: Path):
    """4000x3000 pixels with as much detail and noise as a telephone's camera gives: about 5 MB."""
    smooth = Image.fromarray(scene(1000, 750, 5)).resize((4000, 3000), Image.BICUBIC)
    noise = np.random.default_rng(1).normal(0, 9, (3000, 4000, 3))
    Image.fromarray(np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)).save(path, quality=90, subsampling=2)


def least(work, runs=9) -> float:
    best = float("inf")
    for _ in range(runs):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best * 1000


def main():
    path = Path(sys.argv[1])
    if not path.exists():
        photo(path)
    image = load_image(str(path))
    print(f"{path.stat().st_size} bytes, {image.size[0]}x{image.size[1]}")
    print(f"load: {least(lambda: load_image(str(path))):.1f} ms")
    for maximum in (1_003_520, 12_845_056):
        processor = Qwen2VLImageProcessor(min_pixels=3136, max_pixels=maximum)
        print(f"patches of at most {maximum} pixels: {least(lambda: processor(image, return_tensors='pt')):.1f} ms")
        print(f"both: {least(lambda: processor(load_image(str(path)), return_tensors='pt')):.1f} ms")


if __name__ == "__main__":
    main()
