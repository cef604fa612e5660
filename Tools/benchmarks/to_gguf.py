"""Runs llama.cpp's convert_hf_to_gguf.py on one of make_checkpoints.py's folders.

    python to_gguf.py LLAMA_CPP_SOURCE ARGUMENTS_OF_THE_CONVERTER...

The converter recognises published vocabularies by a hash; ours of the small model is a part of Qwen's, so the answer is given here.
"""

import runpy
import sys
from pathlib import Path

source = Path(sys.argv[1]).resolve()
sys.path[:0] = [str(source), str(source / "gguf-py")]

from conversion.base import TextModel  # noqa: E402

TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
sys.argv = [str(source / "convert_hf_to_gguf.py"), *sys.argv[2:]]
runpy.run_path(sys.argv[0], run_name="__main__")
