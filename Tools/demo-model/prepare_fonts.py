"""Collect the fonts and words that the generator draws with.

Usage: prepare_fonts.py ROOT... OUT

ROOT are folders in which the Debian packages of packages.txt are unpacked (or `/` where they are installed). OUT gets every usable
font, cut down to printable ASCII, `fonts.json` (file, family, split) and `words.txt`. The families in HELD, with their siblings and metric twins, are never drawn in
training: they make the "unseen" rows of the evaluation.
"""

import json
import pathlib
import re
import string
import sys

import numpy as np
from fontTools import subset
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

NEEDED = string.ascii_letters + string.digits + " .,!?-&$:%'/"
REJECT = re.compile(r"symbol|dingbat|icons|math|emoji|standard ?symbols|D05|S05|LMMath|smallcap|caps|[-_]sc|swash|unicase|cswash|SC\.", re.I)
HELD = ("Comic Neue", "Karla", "Inconsolata", "Oxygen", "OpenDyslexic", "PT Sans", "PT Mono", "PT Serif", "Prociono", "Quattrocento",
        "Gillius", "Clear Sans", "Linux Biolinum", "Latin Modern Mono", "TeX Gyre Schola", "C059", "TeX Gyre Chorus", "Z003",
        "Comfortaa", "Vollkorn")
SKIP = ("Humor Sans", "Junction", "Yanone Kaffeesatz Thin", "Essays1743")
FILES_PER_FAMILY = 6


def bitmap(font, text):
    box = font.getbbox(text)
    image = Image.new("L", (max(1, box[2] - box[0]), max(1, box[3] - box[1])))
    ImageDraw.Draw(image).text((-box[0], -box[1]), text, font=font, fill=255)
    return np.asarray(image.resize((32, 32)), dtype=np.float32) / 255


def usable(path):
    """Whether the font draws every needed character, and its small letters are not shrunken capitals."""
    font = ImageFont.truetype(str(path), 48, layout_engine=ImageFont.Layout.BASIC)
    blank = bitmap(font, "\uffff")
    for ch in NEEDED.replace(" ", ""):
        glyph = bitmap(font, ch)
        if glyph.sum() < 4 or (glyph.shape == blank.shape and np.abs(glyph - blank).mean() < 0.01):
            return False
    if max(np.abs(bitmap(font, a) - bitmap(font, b)).mean() for a, b in [("A", "B"), ("n", "u")]) < 0.02:
        return False
    alike = sum(np.abs(bitmap(font, c) - bitmap(font, c.upper())).mean() < 0.10 for c in "abdeghnqrt")
    thin = bitmap(font, "Hamburg").mean() < 0.10
    return alike < 3 and not thin


def main():
    *roots, out = sys.argv[1:]
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    families, words = {}, []
    for root in map(pathlib.Path, roots):
        for path in sorted([*root.rglob("*.ttf"), *root.rglob("*.otf"), *root.rglob("*.TTF")]):
            if REJECT.search(path.name):
                continue
            try:
                font = TTFont(path, lazy=True)
                name = font["name"].getBestFamilyName() or path.stem
                sub = font["name"].getBestSubFamilyName() or ""
                cmap = font.getBestCmap()
                if REJECT.search(name) or name in SKIP or re.search(r"thin|hair|extralight|ultralight", sub + path.name, re.I):
                    continue
                if not all(ord(c) in cmap for c in NEEDED) or not usable(path):
                    continue
            except Exception as error:
                print("skipped", path.name, error, file=sys.stderr)
                continue
            families.setdefault(name, []).append(path)
        for path in root.rglob("american-english-small"):
            words = path.read_text().split("\n")
    table = []
    for name in sorted(families):
        held = name.startswith(HELD)
        paths = families[name]
        step = max(1, len(paths) // FILES_PER_FAMILY)
        for path in paths[::step][:FILES_PER_FAMILY]:
            target = out / f"{len(table):03d}{path.suffix.lower()}"
            options = subset.Options(hinting=False, layout_features=[], name_IDs=[1, 2, 13], notdef_outline=True, drop_tables=["GSUB", "GPOS", "kern"])
            try:
                font = subset.load_font(str(path), options)
                worker = subset.Subsetter(options)
                worker.populate(unicodes=range(32, 127))
                worker.subset(font)
                subset.save_font(font, str(target), options)
            except Exception as error:
                print("skipped", path.name, error, file=sys.stderr)
                continue
            table.append({"file": target.name, "family": name, "source": path.name, "split": "held" if held else "train"})
    json.dump(table, open(out / "fonts.json", "w"), indent=0)
    keep = sorted({w for w in words if re.fullmatch(r"[a-z]{2,11}", w)})
    (out / "words.txt").write_text("\n".join(keep) + "\n")
    held = [f for f in table if f["split"] == "held"]
    print(len(table), "fonts of", len({f["family"] for f in table}), "families;", len(held), "fonts of",
          len({f["family"] for f in held}), "families held out;", len(keep), "words")


main()
