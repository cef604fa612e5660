"""Writes Tests/Fixtures/tokenizers/configs.json: what transformers makes of tokenizer_config.json and its companions.

    python Tools/goldens/tokenizers/configs.py        # needs protobuf for the Llama cases

Each case names the fixture whose files it starts from, the further files, and what AutoTokenizer then gives.
"""

import json
import pathlib
import shutil
import tempfile

import transformers
from transformers import AutoTokenizer

from texts import TEXTS

OUT = pathlib.Path(__file__).resolve().parents[3] / "Tests/Fixtures/tokenizers"
TEXTS = TEXTS[3:16] + TEXTS[32:36] + [
    "a <new> b<new>c <bos>x<eos> <img>y <Extra> <extra>", "word, do n't . Is it ? it 's 've x ' s , !  .  we 're 'm",
    "<s> hi </s><extra_id_0>  tail<image>"]
GENERIC = "PreTrainedTokenizerFast"


def token(content, **flags):
    return {"__type": "AddedToken", "content": content, "lstrip": False, "rstrip": False, "single_word": False,
            "normalized": False, "special": True, **flags}


def plain(content, **flags):
    return {k: v for k, v in token(content, **flags).items() if k != "__type"}


def vocabulary_and_merges(name):
    model = json.loads((OUT / name / "tokenizer.json").read_text())["model"]
    return {"vocab.json": model["vocab"], "merges.txt": "#version: 0.2\n" + "\n".join(" ".join(m) for m in model["merges"]) + "\n"}


def cases():
    yield "names as strings", "wordlevel", {"tokenizer_config.json": {
        "tokenizer_class": GENERIC, "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>",
        "additional_special_tokens": ["<new>", "<img>"], "clean_up_tokenization_spaces": True, "add_bos_token": True}}
    yield "added_tokens_decoder", "qwen2", {"tokenizer_config.json": {
        "tokenizer_class": GENERIC, "eos_token": token("<|im_end|>"), "pad_token": "<|endoftext|>", "bos_token": None,
        "clean_up_tokenization_spaces": True, "added_tokens_decoder": {
            "600": plain("<|endoftext|>"), "608": plain("<new>", lstrip=True), "609": plain("<Extra>", special=False, normalized=True),
            "601": plain("<|im_start|>"), "602": plain("<|im_end|>")}}}
    yield "companions of old", "llama2", {
        "tokenizer_config.json": {"tokenizer_class": GENERIC, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
        "special_tokens_map.json": {"bos_token": plain("<s>"), "eos_token": plain("</s>", rstrip=True), "pad_token": "<new>",
                                    "additional_special_tokens": ["<extra>"]},
        "added_tokens.json": {"<new>": 700, "<Extra>": 701, "<extra>": 702}}
    yield "tokens of one model", "deepseek", {"tokenizer_config.json": {
        "tokenizer_class": GENERIC, "eos_token": "<|endoftext|>", "image_token": "<img>",
        "extra_special_tokens": {"video_token": "<new>", "boi_token": token("<bos>", rstrip=True)}}}
    yield "word pieces cleaned up", "bert", {"tokenizer_config.json": {
        "tokenizer_class": GENERIC, "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": token("[MASK]", lstrip=True),
        "pad_token": "[PAD]", "clean_up_tokenization_spaces": True}}
    yield "BPE cleaned up by force", "qwen2", {"tokenizer_config.json": {
        "tokenizer_class": GENERIC, "clean_up_tokenization_spaces": True,
        "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": True}}
    yield "no configuration", "roberta", {"tokenizer_config.json": {"tokenizer_class": GENERIC}}
    yield "Qwen2 vocab and merges", None, {**vocabulary_and_merges("qwen2"), "tokenizer_config.json": {
        "tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": None,
        "add_bos_token": False, "added_tokens_decoder": {
            "600": plain("<|endoftext|>"), "601": plain("<|im_start|>"), "602": plain("<|im_end|>"), "603": plain("<img>")}}}
    yield "GPT-2 vocab and merges", None, {**vocabulary_and_merges("roberta"), "tokenizer_config.json": {
        "tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}}
    for legacy in (True, False):
        yield f"Llama class, legacy {legacy}", "spm-bpe", {"tokenizer_config.json": {
            "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": legacy,
            "add_bos_token": True, "add_eos_token": legacy}}


def main():
    results = []
    for name, base, files in cases():
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for file in ("tokenizer.json", "tokenizer.model"):
                if base and (OUT / base / file).exists():
                    shutil.copy(OUT / base / file, folder / file)
            (folder / "config.json").write_text("{}")
            for file, content in files.items():
                (folder / file).write_text(content if isinstance(content, str) else json.dumps(content))
            t = AutoTokenizer.from_pretrained(str(folder))
        ids = [t(x, add_special_tokens=False).input_ids for x in TEXTS]
        results.append({
            "name": name, "base": base, "files": {f: c if isinstance(c, str) else json.dumps(c) for f, c in files.items()}, "texts": TEXTS,
            "ids": ids, "idsWithSpecial": [t(x).input_ids for x in TEXTS],
            "decoded": [t.decode(i) for i in ids], "decodedSkipping": [t.decode(i, skip_special_tokens=True) for i in ids],
            "names": [t.bos_token, t.eos_token, t.pad_token, t.unk_token], "size": len(t)})
        print(name, type(t).__name__, len(t))
    (OUT / "configs.json").write_text(json.dumps({"transformers": transformers.__version__, "cases": results}, separators=(",", ":")) + "\n")


main()
