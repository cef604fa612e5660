"""Writes Tests/Fixtures/models: tiny random checkpoints in published form, and what transformers computes with them.

    pip install -r Tools/goldens/models/requirements.txt
    python Tools/goldens/models/generate.py [NAME...]      # all, or only these folders
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import importlib
import sys

import PIL
import tokenizers
import torch
import torchvision
import transformers

import common


def main() -> None:
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    assert transformers.__version__ == "5.17.0" and int(PIL.__version__.split(".")[0]) < 13, "install requirements.txt"
    only = sys.argv[1:] or None
    common.write_pictures()
    for module in ("qwen_vl", "qwen3_vl", "internvl", "internvl_chat", "llava", "llava_next", "llava_onevision", "llava_original", "idefics3", "gemma3", "text_models"):
        importlib.import_module(module).generate(only)
    common.manifest(
        {
            "transformers": transformers.__version__,
            "torch": torch.__version__.split("+")[0],
            "torchvision": torchvision.__version__.split("+")[0],
            "tokenizers": tokenizers.__version__,
            "pillow": PIL.__version__,
        }
    )


if __name__ == "__main__":
    main()
