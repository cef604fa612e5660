"""Writes Tests/Fixtures/tokenizers: small tokenizers of every kind with the ids and texts that the `tokenizers`
library gives for them.

    python Tools/goldens/tokenizers/make.py [--train]

Tokenizers that are checked in are kept, since training breaks ties by hash order, and their expectations written anew;
--train trains all of them again.
"""

import io
import json
import pathlib
import random
import sys
import tempfile

import sentencepiece
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from texts import CORPUS, TEXTS

OUT = pathlib.Path(__file__).resolve().parents[3] / "Tests/Fixtures/tokenizers"

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
QWEN35 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + CONTRACTIONS + "?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + CONTRACTIONS + "?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
KIMI = "|".join([
    r"[\p{Han}]+", r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
    + CONTRACTIONS + "?", r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
            r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"""
            r"""\s*[\r\n]+|\s+(?!\S)|\s+"""]
DEEPSEEK_V2 = ["[\r\n]", r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕ]+",
               r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", "[一-龥ࠀ-一가-퟿]+"]

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior=behavior, invert=invert)


def spelled(*splits):
    return pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def byte_level(pre, size=600, normalizer=None, specials=SPECIALS, **model):
    t = Tokenizer(models.BPE(**model))
    t.normalizer = normalizer
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
                                  show_progress=False)
    t.train_from_iterator(CORPUS, trainer)
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in specials])
    return t


def flags(t):
    """Added tokens with every flag."""
    t.add_tokens([
        AddedToken("[MASK]", lstrip=True, special=True, normalized=False),
        AddedToken("<mask>", lstrip=True, rstrip=True, normalized=False),
        AddedToken("word", single_word=True, normalized=False),
        AddedToken("<extra_0>", rstrip=True, normalized=True),
        AddedToken("Straße", normalized=True),
    ])
    return t


def spm(kind, **options):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=out, model_type=kind, minloglevel=2, num_threads=1,
        character_coverage=0.999, **options)
    return out.getvalue()


# A few rules of NFKC and some with several characters on the left: a whole NFKC map would be 300 kB per fixture.
RULES = {"ﬁ": "fi", "①": "1", "²": "2", "™": "TM", "Ａ": "A", "ｂ": "b", "ｃ": "c", "１": "1", "２": "2", "３": "3", "ｶﾞ": "ガ",
         "ｶ": "カ", "e\u0301": "é", "\u3000": " ", "\u00a0": " ", "\u200b": "", "！": "!", "（": "(", "）": ")",
         "\u1112\u1161\u11ab": "한", "\u00ad": "", "\t": " ", "\n": " ", "ẞ": "ss", "👍🏽": "👍"}


def charsmap():
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as tsv:
        for a, b in RULES.items():
            tsv.write(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n")
        tsv.flush()
        model = spm("unigram", vocab_size=200, normalization_rule_tsv=tsv.name)
    normalizer_spec = protobuf_fields(model)[3]
    return protobuf_fields(normalizer_spec)[2]


def without_paths(model):
    """The model without normalization_rule_tsv, the name of a temporary file."""
    proto = bytearray()
    for field, start, end, body in protobuf_spans(model):
        if field == 3:
            spec = b"".join(body[s:e] for f, s, e, _ in protobuf_spans(body) if f != 6)
            size, head = len(spec), bytearray([3 << 3 | 2])
            while size > 127:
                head.append(size & 127 | 128)
                size >>= 7
            proto += bytes(head) + bytes([size]) + spec
        else:
            proto += model[start:end]
    return bytes(proto)


def protobuf_spans(data):
    """Field number, start and end of each field of a protobuf message, and the bytes it holds."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        start = at
        key = varint()
        body = b""
        if key & 7 == 0:
            varint()
        else:
            size = varint() if key & 7 == 2 else 4 if key & 7 == 5 else 8
            body = data[at:at + size]
            at += size
        yield key >> 3, start, at, body


def protobuf_fields(data):
    """Last value of each field of a protobuf message that holds bytes."""
    return {field: body for field, _, _, body in protobuf_spans(data)}


def sentencepiece_models():
    """Raw models with what SentencePiece itself gives; every switch of the normalizer occurs."""
    common = dict(vocab_size=420, user_defined_symbols=["<sep>", "<ud>x"], hard_vocab_limit=False)
    rules = tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8")
    for a, b in RULES.items():
        rules.write(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n")
    rules.flush()
    tsv = dict(normalization_rule_tsv=rules.name)
    yield "spm-bpe", spm("bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
                         **{**common, "vocab_size": 620})
    yield "spm-bpe-rules", spm("bpe", **tsv, **common)
    yield "spm-unigram", spm("unigram", **tsv, **{**common, "vocab_size": 200})
    yield "spm-unigram-bytes", spm("unigram", byte_fallback=True, normalization_rule_name="identity", add_dummy_prefix=False,
                                   **{**common, "vocab_size": 460})
    yield "spm-suffix", spm("unigram", treat_whitespace_as_suffix=True, **tsv, **{**common, "vocab_size": 200})


def sentencepiece_expectations(model):
    sp = sentencepiece.SentencePieceProcessor(model_proto=model)
    # Control symbols in a text are special tokens here and plain text to SentencePiece; NUL ends its strings.
    texts = [t for t in TEXTS if "<s>" not in t and "</s>" not in t and "\0" not in t]
    texts += ["a<sep>b <sep> c<ud>xd<ud>", "<sep>", " <sep><sep> ", "the <ud>x the"]
    return {"texts": texts, "ids": [sp.encode(t) for t in texts]}


def spm_bpe(**model):
    """A BPE as converted from SentencePiece: characters, byte tokens, merges over ▁-words."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, **model))
    t.pre_tokenizer = pre_tokenizers.Metaspace(split=True)
    specials = ["<unk>", "<s>", "</s>"]
    if model.get("byte_fallback"):
        specials += [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=specials, show_progress=False)
    t.train_from_iterator(CORPUS, trainer)
    # Byte tokens are no added tokens in converted models.
    data = json.loads(t.to_str())
    data["added_tokens"] = [a for a in data["added_tokens"] if not a["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(data))


def unigram(size=400, **options):
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(charsmap()), normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=["<pad>", "<unk>", "</s>"], unk_token="<unk>",
                                      show_progress=False)
    t.train_from_iterator(CORPUS, trainer)
    t.decoder = decoders.Metaspace()
    if options.get("byte_fallback"):
        data = json.loads(t.to_str())
        data["model"]["byte_fallback"] = True
        data["model"]["vocab"] += [[f"<0x{b:02X}>", 0.0] for b in range(256)]
        t = Tokenizer.from_str(json.dumps(data))
    return t


def tokenizers_of_every_kind():
    t = flags(byte_level(spelled(split(QWEN2)), normalizer=normalizers.NFC()))
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    yield "qwen2", t
    t = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True), specials=["<s>", "<pad>", "</s>", "<unk>"])
    t.post_processor = processors.RobertaProcessing(("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")))
    yield "roberta", t
    t = byte_level(spelled(split(LLAMA3)), ignore_merges=True)
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|endoftext|> $A <|im_end|>", pair=None,
                                      special_tokens=[(s, t.token_to_id(s)) for s in SPECIALS])])
    yield "llama3", t
    yield "deepseek", byte_level(spelled(*map(split, DEEPSEEK)))
    yield "o200k", flags(byte_level(spelled(split(O200K))))
    # Spelled by the normalizer, and a pre-tokenizer after the spelling: no short cut over raw bytes.
    yield "bytelevel-normalizer", flags(byte_level(split(" ", "merged_with_next"), normalizer=normalizers.ByteLevel()))
    yield "falcon", byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Digits(individual_digits=False), split("[0-9][0-9][0-9]")]))

    t = spm_bpe(byte_fallback=True)
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.pre_tokenizer = None
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair=None, special_tokens=[("<s>", 1)])
    yield "llama2", t
    t = spm_bpe(byte_fallback=False)
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    t.decoder = decoders.Sequence([decoders.Metaspace(prepend_scheme="first")])
    yield "metaspace-first", flags(t)
    t = spm_bpe(byte_fallback=False)
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = split(" ", "merged_with_previous")
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    yield "gemma", t

    t = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", end_of_word_suffix="</w>"))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence([
        split(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", "removed", True)])
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<unk>"], continuing_subword_prefix="##", end_of_word_suffix="</w>",
        show_progress=False))
    t.decoder = decoders.BPEDecoder()
    yield "clip", t

    t = unigram()
    t.post_processor = processors.TemplateProcessing(single="$A </s>", pair=None, special_tokens=[("</s>", 2)])
    yield "t5", t
    t = unigram(byte_fallback=True)
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    t.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never")])
    yield "unigram-bytes", flags(t)

    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=60))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(CORPUS, trainers.WordPieceTrainer(
        vocab_size=600, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    t.decoder = decoders.WordPiece()
    yield "bert", t
    t = Tokenizer(models.WordLevel(unk_token="<unk>"))
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.train_from_iterator(CORPUS, trainers.WordLevelTrainer(special_tokens=["<unk>", "<pad>"], show_progress=False))
    yield "wordlevel", t
    t = Tokenizer(models.WordLevel(unk_token="<unk>"))
    t.pre_tokenizer = split("", "isolated")
    t.train_from_iterator(CORPUS, trainers.WordLevelTrainer(special_tokens=["<unk>", "<pad>", "|"], show_progress=False))
    t.decoder = decoders.CTC("<pad>", "|", True)
    yield "ctc", t


def components():
    """Normalizers and pre-tokenizers one by one, seen through a model that has a token for every piece."""
    N, P = normalizers, pre_tokenizers
    bert = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    both = [(f"normalizer {name}", n, None) for name, n in {
        "NFC": N.NFC(), "NFD": N.NFD(), "NFKC": N.NFKC(), "NFKD": N.NFKD(), "Lowercase": N.Lowercase(),
        "Strip": N.Strip(), "Strip left": N.Strip(right=False), "Strip right": N.Strip(left=False),
        "StripAccents": N.Sequence([N.NFD(), N.StripAccents()]), "Nmt": N.Nmt(), "Prepend": N.Prepend("→"),
        "Replace string": N.Replace("an", "[AN]"), "Replace regex": N.Replace(Regex(r"[aeiou]{2,}|\d+"), "#"),
        "Replace empty match": N.Replace(Regex("x*"), "-"),
        "ByteLevel": N.ByteLevel(), "Precompiled": N.Precompiled(charsmap()),
        "Bert clean": N.BertNormalizer(**{**bert, "clean_text": True}),
        "Bert Chinese": N.BertNormalizer(**{**bert, "handle_chinese_chars": True}),
        "Bert accents": N.BertNormalizer(**{**bert, "strip_accents": True}),
        "Bert": N.BertNormalizer(), "Bert cased": N.BertNormalizer(lowercase=False),
    }.items()]
    behaviors = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
    pre = {
        "ByteLevel": P.ByteLevel(add_prefix_space=False), "ByteLevel prefix": P.ByteLevel(add_prefix_space=True, use_regex=False),
        "Metaspace": P.Metaspace(), "Metaspace never": P.Metaspace(prepend_scheme="never"),
        "Metaspace first": P.Metaspace(prepend_scheme="first"), "Metaspace whole": P.Metaspace(split=False),
        "Whitespace": P.Whitespace(), "WhitespaceSplit": P.WhitespaceSplit(), "Digits": P.Digits(),
        "Digits individual": P.Digits(individual_digits=True), "Bert": P.BertPreTokenizer(),
        "CharDelimiterSplit": P.CharDelimiterSplit("e"), "UnicodeScripts": P.UnicodeScripts(), "FixedLength": P.FixedLength(3),
        "Sequence": P.Sequence([P.WhitespaceSplit(), P.Punctuation(), P.Digits(individual_digits=True)]),
        "Split string": P.Split("an", "isolated"), "Split empty string": P.Split("", "isolated"),
        **{f"Punctuation {b}": P.Punctuation(b) for b in behaviors},
        **{f"Split {b}": split(r"[^\w\s]+|\s+", b) for b in behaviors},
        **{f"Split inverted {b}": split(r"\p{L}+", b, True) for b in behaviors},
    }
    patterns = {"GPT-2": GPT2, "Qwen2": QWEN2, "Llama 3": LLAMA3, "Qwen3.5": QWEN35, "cl100k": CL100K, "o200k": O200K,
                "Kimi": KIMI, **{f"DeepSeek {i}": p for i, p in enumerate(DEEPSEEK)},
                **{f"DeepSeek v2 {i}": p for i, p in enumerate(DEEPSEEK_V2)},
                "lazy": r"\w+?e|.", "possessive": r"\w++e|\w+", "atomic": r"(?>a|ab)c|b", "look-behind": r"(?<=o)\w|(?<!\s)\d+",
                "anchors": r"^\w+|\w+$|\A.|.\z", "boundaries": r"\b\w|\B\w", "nested": r"(?:(?:a|b)*c?)+|(?i:THE|hello)",
                "counted": r"(?:[a-z]{2,3}){2}|\w{4,}?|[[:punct:]]{2}", "posix": r"[[:alpha:]]+|[[:digit:]]|[^[:alnum:][:space:]]",
                "hex": r"\x{4e00}|[\x{4e00}-\x{9fff}]+|\u0061\x62?", "empty loop": r"(?:a*)*b|(?:x?)+y|z*"}
    both += [(f"pre-tokenizer {n}", None, p) for n, p in pre.items()]
    both += [(f"pattern {n}", None, split(p)) for n, p in patterns.items()]
    texts = TEXTS
    for name, normalizer, pre in both:
        pieces = []
        for text in texts:
            if normalizer:
                text = normalizer.normalize_str(text)
            pieces.append([p for p, _ in pre.pre_tokenize_str(text)] if pre else [text] if text else [])
        vocab = {}
        for piece in (p for ps in pieces for p in ps):
            vocab.setdefault(piece, len(vocab))
        t = Tokenizer(models.WordLevel(vocab=vocab, unk_token="<unk>"))
        if normalizer:
            t.normalizer = normalizer
        if pre:
            t.pre_tokenizer = pre
        ids = [t.encode(text).ids for text in texts]
        assert ids == [[vocab[p] for p in ps] for ps in pieces], name
        data = json.loads(t.to_str())
        # The vocabulary in the order of ids, as pieces, is the readable form of the expectation.
        yield {"name": name, "normalizer": data["normalizer"], "pre_tokenizer": data["pre_tokenizer"], "pieces": pieces}


def decoder_cases():
    D = decoders
    lists = [
        [], ["▁Hello", "▁world", "!"], ["▁▁a", "▁", "b▁c"], ["<0xE2>", "<0x96>", "<0x81>", "x", "<0xF0>", "<0x9F>", "y"],
        ["a", "<0xE4>", "<0xBD>", "<0xA0>", "<0xE4>", "<0x0A>", "<0x0G>"], ["Ġhello", "Ġ", "ĠâĤ¬", "ï¿½", "中", "ðŁĺ", "Ģ", "ðŁ"],
        ["un", "##believ", "##able", ".", "do", "n't", "it", "'s", "do", "not", "##"], ["lo", "w</w>", "er</w>", "</w>", "x"],
        ["h", "h", "<pad>", "e", "l", "<pad>", "l", "o", "|", "|", "a", "'s"], [" ", "  a ", " b  ", "   "], ["", "a", "", "b"],
        [" ", " ", "x", " y ", " "],
    ]
    cases = {
        "ByteLevel": D.ByteLevel(), "ByteFallback": D.ByteFallback(), "Fuse": D.Fuse(), "Metaspace": D.Metaspace(),
        "Metaspace never": D.Metaspace(prepend_scheme="never"), "WordPiece": D.WordPiece(), "WordPiece raw": D.WordPiece(cleanup=False),
        "BPEDecoder": D.BPEDecoder(), "CTC": D.CTC(), "CTC raw": D.CTC(cleanup=False), "Strip left": D.Strip(" ", 1, 0),
        "Replace": D.Replace("▁", " "), "Replace regex": D.Replace(Regex("[lo]+"), "0"),
        "Llama": D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)]),
        "Llama two": D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 2, 0)]),
        "Fuse then Replace": D.Sequence([D.Fuse(), D.Replace("o▁", "0 ")]),
        "Fuse then ByteFallback": D.Sequence([D.Fuse(), D.ByteFallback()]),
        "Fuse then Metaspace": D.Sequence([D.Fuse(), D.Metaspace()]), "none": None,
        "ByteLevel then Strip": D.Sequence([D.ByteLevel(), D.Strip("Ġ", 1, 0), D.Strip(" ", 1, 0)]),
        "Strip both": D.Sequence([D.Fuse(), D.Strip(" ", 1, 1)]), "Strip ends": D.Sequence([D.Fuse(), D.Strip(" ", 0, 2)]),
    }
    for name, decoder in cases.items():
        results = []
        for tokens in lists:
            if name.startswith("Strip") and name != "Strip left" and "".join(tokens).strip(" ") == "":
                results.append(None)  # The library's arithmetic overflows here.
            elif name == "BPEDecoder" and not tokens:
                results.append("")
            else:
                results.append(decoder.decode(tokens) if decoder else " ".join(tokens))
        data = None
        if decoder:
            t = Tokenizer(models.WordLevel())
            t.decoder = decoder
            data = json.loads(t.to_str())["decoder"]
        yield {"name": name, "decoder": data, "tokens": lists, "texts": results}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")


def expectations(t, texts=TEXTS):
    rng = random.Random(7)
    size = t.get_vocab_size()
    rows = [[rng.randrange(size) for _ in range(rng.randrange(1, 24))] for _ in range(40)]
    ids = [t.encode(text, add_special_tokens=False).ids for text in texts]
    return {
        "ids": ids,
        "idsWithSpecial": [t.encode(text, add_special_tokens=True).ids for text in texts],
        "decoded": [t.decode(i, skip_special_tokens=False) for i in ids],
        "decodedSkipping": [t.decode(i, skip_special_tokens=True) for i in ids],
        "randomIDs": rows,
        "randomDecoded": [t.decode(i, skip_special_tokens=False) for i in rows],
        "randomDecodedSkipping": [t.decode(i, skip_special_tokens=True) for i in rows],
        "vocabularySize": size,
    }


def main():
    write(OUT / "texts.json", TEXTS)
    train = "--train" in sys.argv[1:]
    for name, t in tokenizers_of_every_kind():
        file = OUT / name / "tokenizer.json"
        if train or not file.exists():
            write(file, json.loads(t.to_str()))
        t = Tokenizer.from_file(str(file))
        write(OUT / name / "expected.json", expectations(t))
        print(name, t.get_vocab_size())
    for name, model in sentencepiece_models():
        file = OUT / name / "tokenizer.model"
        if train or not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            # The trainer's settings name temporary files of this run.
            file.write_bytes(without_paths(model))
        model = file.read_bytes()
        write(OUT / name / "expected.json", sentencepiece_expectations(model))
        print(name, len(model))
    write(OUT / "components.json", list(components()))
    write(OUT / "decoders.json", list(decoder_cases()))
    write(OUT / "versions.json", {"tokenizers": tokenizers.__version__, "sentencepiece": sentencepiece.__version__})


if __name__ == "__main__":
    main()
