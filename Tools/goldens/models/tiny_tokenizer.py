"""Tiny tokenizers in the form the families publish theirs."""

import json
import re
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

# What the byte-pair merges are learned from: enough English to make prompts short, enough else to need byte fallback now and then.
CORPUS = """
You are a helpful assistant. What is in the picture? What does the sign say? How many circles are there?
Describe the image in one sentence. Compare these pictures. Which picture has more circles? system user assistant
Is the red square left of the blue circle? Answer yes or no. There are three circles and two squares in the picture.
Hello! How are you today? I am fine, thank you. Write a short poem about the sea. The sea is blue and deep and wide.
Count from one to ten: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10. And the second one? And then? Tell me more about it, please.
""" * 4

QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

QWEN_SPECIALS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
    "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip
INTERNVL_SPECIALS = ["<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>"]
LLAMA3_SPECIALS = [
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>",
]  # fmt: skip


def byte_level_bpe(specials: list[str], pattern: str, base_vocabulary: int, nfc: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=base_vocabulary, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator([CORPUS], trainer)
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in specials])
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path, config: dict, plain_files: bool = True) -> dict[str, int]:
    """Writes tokenizer.json, tokenizer_config.json and, as Qwen does, vocab.json and merges.txt. Returns token → id."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    state = json.loads((folder / "tokenizer.json").read_text())
    # The shape published Qwen2 files have; also smaller.
    (folder / "tokenizer.json").write_text(json.dumps(state, ensure_ascii=False, indent=1))
    if plain_files:
        (folder / "vocab.json").write_text(json.dumps(state["model"]["vocab"], ensure_ascii=False))
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in state["model"]["merges"]]
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    decoder = {
        str(token["id"]): {key: token[key] for key in ("content", "lstrip", "normalized", "rstrip", "single_word", "special")}
        for token in state["added_tokens"]
    }
    write_json(folder / "tokenizer_config.json", {"added_tokens_decoder": decoder} | config)
    return tokenizer.get_vocab(with_added_tokens=True)


def qwen2(folder: Path, specials: list[str], config: dict, base_vocabulary: int = 340) -> dict[str, int]:
    common = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "additional_special_tokens": [token for token in specials if token != "<|endoftext|>"],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 32768,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    return save(byte_level_bpe(specials, QWEN2_PATTERN, base_vocabulary, nfc=True), folder, common | config)


def llama3(folder: Path, specials: list[str], config: dict, base_vocabulary: int = 340) -> dict[str, int]:
    tokenizer = byte_level_bpe(specials, LLAMA3_PATTERN, base_vocabulary, nfc=False)
    bos = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(add_prefix_space=True, trim_offsets=False, use_regex=True),
            processors.TemplateProcessing(
                single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
                special_tokens=[("<|begin_of_text|>", bos)],
            ),
        ]
    )  # fmt: skip
    common = {
        "bos_token": "<|begin_of_text|>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|eot_id|>",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 131072,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    return save(tokenizer, folder, common | config, plain_files=False)


def gemma(folder: Path, config: dict, specials: list[str] = (), base_vocabulary: int = 330) -> dict[str, int]:
    """SentencePiece pieces as tokenizer.json, as Gemma publishes them: spaces become ▁, unknown characters bytes, BOS comes first."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    trained.train_from_iterator([CORPUS.replace(" ", "▁")], trainers.BpeTrainer(vocab_size=base_vocabulary - 262, show_progress=False))
    state = json.loads(trained.to_str())["model"]
    # "<bos>" first by number would be 2, as in the published files.
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", *specials]
    pieces += [f"<0x{byte:02X}>" for byte in range(256)]
    pieces += sorted(state["vocab"], key=state["vocab"].get)
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in state["merges"]]
    tokenizer = Tokenizer(
        models.BPE({piece: index for index, piece in enumerate(pieces)}, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)]
    )
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in pieces[: 6 + len(specials)]]
    )
    common = {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<bos>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<eos>",
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": "<pad>",
        "sp_model_kwargs": None,
        "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizer",
        "unk_token": "<unk>",
        "use_default_system_prompt": False,
    }
    return save(tokenizer, folder, common | config, plain_files=False)


def internlm2(folder: Path, specials: list[str], config: dict, vocabulary: int = 330) -> dict[str, int]:
    """A SentencePiece file as InternLM2 has: byte fallback, no dummy prefix; chat tokens take the places of unused pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder / "corpus.txt"
    corpus.write_text(CORPUS)
    unused = ["[UNUSED_TOKEN_145]", "[UNUSED_TOKEN_146]"]
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / "tokenizer"), model_type="bpe", vocab_size=vocabulary, byte_fallback=True,
        add_dummy_prefix=False, remove_extra_whitespaces=False, normalization_rule_name="identity", split_digits=True,
        user_defined_symbols=unused, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    corpus.unlink()
    (folder / "tokenizer.vocab").unlink()
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    added = {"<unk>": 0, "<s>": 1, "</s>": 2}
    added |= {"<|im_end|>": processor.piece_to_id(unused[0]), "<|im_start|>": processor.piece_to_id(unused[1])}
    for token in specials:
        added[token] = added.get(token, max(len(processor) - 1, *added.values()) + 1)
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    decoder = {str(index): {"content": token} | flags for token, index in sorted(added.items(), key=lambda item: item[1])}
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": True,
            "add_eos_token": False,
            "added_tokens_decoder": decoder,
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>", *specials],
            "auto_map": {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]},
            "bos_token": "<s>",
            "clean_up_tokenization_spaces": False,
            "eos_token": "</s>",
            "model_max_length": 8192,
            "pad_token": "</s>",
            "tokenizer_class": "InternLM2Tokenizer",
            "unk_token": "<unk>",
        }
        | config,
    )
    return added


def internlm2_encode(folder: Path, added: dict[str, int], prompt: str) -> list[int]:
    """What InternLM2Tokenizer does: added tokens are cut out, SentencePiece encodes what lies between, BOS comes first once."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    pattern = "(" + "|".join(re.escape(token) for token in sorted(added, key=len, reverse=True)) + ")"
    ids: list[int] = []
    for part in re.split(pattern, prompt):
        ids += [added[part]] if part in added else processor.encode(part)
    return ids if ids[:1] == [added["<s>"]] else [added["<s>"]] + ids


def write_json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
