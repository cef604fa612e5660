"""Writes Sources/Text/Tokenizer/Unicode/UnicodeData.swift by asking the `tokenizers` library itself.

The library mixes several Unicode versions (Oniguruma's, Rust's and those of two crates). Probing it for every scalar
gives tables that agree with it exactly, whichever versions a release was built with.

    python Tools/goldens/tokenizers/unicode.py [properties]
"""

import pathlib
import sys
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

SCALARS = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
TEXT = "".join(SCALARS)
OUT = pathlib.Path(__file__).resolve().parents[3] / "Sources/Text/Tokenizer/Unicode/UnicodeData.swift"

# The order of UnicodeTable.Code. Three codes are finer than general categories: space controls are matched by \s,
# word symbols and joiners by \w.
CODES = """Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co Cn
           CcSpace SoWord CfWord""".split()


def matched(pattern):
    """Scalars that a one-character Oniguruma pattern matches."""
    split = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    return {c for piece, _ in split.pre_tokenize_str(TEXT) for c in piece}


def runs(values):
    """(value, length) runs of a list."""
    out = []
    for v in values:
        if out and out[-1][0] == v:
            out[-1][1] += 1
        else:
            out.append([v, 1])
    return out


def category_string():
    category = {}
    for code in CODES[:29]:
        for c in matched(rf"\p{{{code}}}"):
            assert c not in category, (hex(ord(c)), code, category[c])
            category[c] = code
    space, word = matched(r"\s"), matched(r"\w")
    base = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc"}
    fine = {"Cc": "CcSpace", "So": "SoWord", "Cf": "CfWord"}
    for c in SCALARS:
        g = category[c]
        if c in space and g not in ("Zs", "Zl", "Zp"):
            assert g == "Cc", hex(ord(c))
            category[c] = "CcSpace"
        if c in word and g not in base:
            category[c] = fine[g]
    for g in ("Zs", "Zl", "Zp"):
        assert all(c in space for c in SCALARS if category[c] == g)
    not_word = {g: [hex(ord(c)) for c in SCALARS if category[c] == g and c not in word] for g in base}
    print({g: (len(v), v[:4]) for g, v in not_word.items() if v})
    full = [category.get(chr(c), "Cn") if not 0xD800 <= c <= 0xDFFF else "Cn" for c in range(0x110000)]
    return "".join(chr(64 + CODES.index(v)) + (str(n) if n > 1 else "") for v, n in runs(full)), category


def ranges_string(members):
    """Sorted code points as alternating gap and length in hexadecimal."""
    flags = [chr(c) in members if not 0xD800 <= c <= 0xDFFF else False for c in range(0x110000)]
    parts, gap = [], 0
    for v, n in runs(flags):
        if v:
            parts.append(f"{gap:x},{n:x}")
        else:
            gap = n
            continue
        gap = 0
    return " ".join(parts)


def mapping_string(mapping):
    """code point → string: runs of consecutive points with one common offset are `gap+length:offset`; others list scalars."""
    parts, at, points = [], 0, sorted(mapping)
    i = 0
    while i < len(points):
        p = points[i]
        target = mapping[p]
        step = 1
        n = 1
        if len(target) == 1:
            offset = ord(target) - p
            for step in (1, 2):
                n = 1
                while i + n < len(points) and points[i + n] == p + n * step and len(mapping[points[i + n]]) == 1 \
                        and ord(mapping[points[i + n]]) - points[i + n] == offset:
                    n += 1
                if n > 1:
                    break
            else:
                step, n = 1, 1
            parts.append(f"{p - at:x},{n:x},{step},{ord(target):x}")
        else:
            parts.append(f"{p - at:x}={'.'.join(f'{ord(t):x}' for t in target)}")
        at = points[i + n - 1] + 1
        i += n
    return " ".join(parts)


def main():
    categories, category = category_string()
    nfd, nfkd, nfc = normalizers.NFD(), normalizers.NFKD(), normalizers.NFC()
    hangul = range(0xAC00, 0xD7A4)
    canonical, compatible = {}, {}
    for c in SCALARS:
        if ord(c) in hangul:
            continue
        d = nfd.normalize_str(c)
        if d != c:
            canonical[ord(c)] = d
        k = nfkd.normalize_str(c)
        if k != d:
            compatible[ord(c)] = k
    # Combining classes: the library's own, seen through reordering against a mark of class 1 and one of class 240.
    classes = {}
    for c in SCALARS:
        known = unicodedata.combining(c)
        after_one = nfd.normalize_str("a" + c + "\u0334") == "a\u0334" + c
        before_max = nfd.normalize_str("a\u0345" + c) == "a" + c + "\u0345"
        moves = after_one or before_max
        if known and moves:
            classes[ord(c)] = chr(known)
        elif bool(known) != moves and ord(c) not in canonical and known not in (1, 240):
            print("combining class differs", hex(ord(c)), known, moves)
    classes[0x0334] = chr(1)
    classes[0x0345] = chr(240)
    for c in SCALARS:
        if unicodedata.combining(c) == 1 and nfd.normalize_str("a\u0345" + c) == "a" + c + "\u0345":
            classes[ord(c)] = chr(1)
    # Compositions: pairs whose canonical composition the library makes.
    pairs = {}
    for c in SCALARS:
        raw = unicodedata.decomposition(c)
        if raw and not raw.startswith("<") and len(raw.split()) == 2:
            a, b = (chr(int(x, 16)) for x in raw.split())
            if nfc.normalize_str(a + b) == c:
                pairs[ord(c)] = a + b
    lower = {ord(c): l for c in SCALARS if (l := normalizers.Lowercase().normalize_str(c)) != c}

    def removed_by(normalizer):
        return {c for c in SCALARS if normalizer.normalize_str(c) == ""}

    bert = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    control = removed_by(normalizers.BertNormalizer(**{**bert, "clean_text": True}))
    nonspacing = {c for c in SCALARS if c not in {chr(k) for k in canonical}
                  and normalizers.BertNormalizer(**{**bert, "strip_accents": True}).normalize_str(c) == ""}
    marks = removed_by(normalizers.StripAccents())
    punctuation = {p for p, _ in pre_tokenizers.Punctuation("removed").pre_tokenize_str(TEXT) for p in p}
    punctuation = set(SCALARS) - punctuation
    numeric = set(SCALARS) - {x for p, _ in pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True)]).pre_tokenize_str(TEXT) if len(p) > 1 for x in p}
    numeric = {c for c in numeric if len(pre_tokenizers.Digits(individual_digits=True).pre_tokenize_str("a" + c)) == 2}
    rust_word = set()
    for piece, _ in pre_tokenizers.Whitespace().pre_tokenize_str(TEXT):
        if len(pre_tokenizers.Whitespace().pre_tokenize_str("a" + piece[0])) == 1:
            rust_word.update(piece)
    rust_space = {c for c in SCALARS if normalizers.Strip().normalize_str(c) == ""}
    whitespace_codes = {"Zs", "Zl", "Zp", "CcSpace"}
    assert rust_space == {c for c in SCALARS if category[c] in whitespace_codes}, "White_Space differs"
    scripts = script_runs()
    fields = {
        "categories": categories,
        "canonical": mapping_string(canonical),
        "compatible": mapping_string(compatible),
        "combining": mapping_string(classes),
        "compositions": mapping_string(pairs),
        "lowercase": mapping_string(lower),
        "bertControl": ranges_string(control),
        "bertNonspacing": ranges_string(nonspacing),
        "accents": ranges_string(marks),
        "punctuation": ranges_string(punctuation),
        "numeric": ranges_string(numeric),
        "rustWord": ranges_string(rust_word),
        "scripts": scripts,
    }
    with open(OUT, "w") as f:
        f.write("// swift-format-ignore-file\n")
        f.write(f"// Written by Tools/goldens/tokenizers/unicode.py with tokenizers {tokenizers.__version__}. Do not edit.\n\n")
        f.write("/// Character data as text that `UnicodeTable` and its extensions expand on first use.\nenum UnicodeData {\n")
        for name, text in fields.items():
            print(name, len(text))
            escaped = text.replace("\\", "\\\\")
            f.write(f'    static let {name}: StaticString = "{escaped}"\n')
        f.write("}\n")


PROPERTIES = """Han Hiragana Katakana Hangul Bopomofo Latin Greek Cyrillic Armenian Hebrew Arabic Syriac Devanagari Bengali
    Gurmukhi Gujarati Oriya Tamil Telugu Kannada Malayalam Sinhala Thai Lao Tibetan Myanmar Georgian Ethiopic Khmer Mongolian
    Common Inherited Alphabetic Uppercase Lowercase Alpha Alnum Upper Lower Punct Cntrl Graph Print Blank Emoji""".split()


def write_properties():
    """Scripts and other properties that \\p{…} names, in a file of their own."""
    with open(OUT.with_name("UnicodePropertyData.swift"), "w") as f:
        f.write("// swift-format-ignore-file\n")
        f.write(f"// Written by Tools/goldens/tokenizers/unicode.py with tokenizers {tokenizers.__version__}. Do not edit.\n\n")
        f.write("/// Ranges of the scripts and properties that a regular expression may name, in lower case.\n")
        f.write("enum UnicodePropertyData {\n    static func ranges(named name: String) -> StaticString? {\n        switch name {\n")
        for name in PROPERTIES:
            pattern = "\\p{" + name + "}"
            f.write(f'        case "{name.lower()}": "{ranges_string(matched(pattern))}"\n')
        f.write("        default: nil\n        }\n    }\n}\n")


def script_runs():
    split = pre_tokenizers.UnicodeScripts()

    def same(a, b):
        return len(split.pre_tokenize_str(a + b)) == 1

    # "Any" joins whatever stands beside it.
    representatives, values, previous = [], [], None
    for c in SCALARS:
        if previous is not None and same(previous, c) and same(previous + "\u0391", c) == same(c, "\u0391") \
                and values[-1] != 0 and not (same("\u0391", c) and same("\u05D0", c)):
            values.append(values[-1])
        elif same("\u0391", c) and same("\u05D0", c):
            values.append(0)
        else:
            for number, r in enumerate(representatives):
                if same(r, c):
                    values.append(number + 1)
                    break
            else:
                representatives.append(c)
                values.append(len(representatives))
        previous = c
    values[0xD800:0xD800] = [values[0xD7FF]] * 0x800
    return " ".join(f"{v:x}*{n:x}" for v, n in runs(values))


if "properties" not in sys.argv[1:]:
    main()
write_properties()
