"""Synthetic pictures with known contents: signs, coloured shapes, bar charts, and shapes with a caption.

Everything is a function of a `random.Random`, so a picture is reproduced by its seed (with the same Pillow and fonts). A scene is
drawn on a canvas of any size; `legible` sizes are chosen from the size the model's image processor will make of the canvas.
"""

import colorsys
import functools
import io
import json
import math
import pathlib
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FACTOR, MIN_PIXELS, MAX_PIXELS = 28, 64 * 784, 196 * 784

KINDS = ["circle", "square", "triangle", "star", "heart", "diamond"]
COLORS = {  # hue range in degrees, saturation, value
    "red": ((-8, 7), (0.78, 1.0), (0.65, 1.0)),
    "orange": ((24, 36), (0.82, 1.0), (0.88, 1.0)),
    "yellow": ((50, 60), (0.70, 1.0), (0.90, 1.0)),
    "green": ((95, 150), (0.50, 1.0), (0.40, 0.88)),
    "blue": ((205, 243), (0.62, 1.0), (0.55, 1.0)),
    "purple": ((268, 288), (0.45, 0.9), (0.45, 0.80)),
    "pink": ((322, 345), (0.28, 0.58), (0.93, 1.0)),
    "brown": ((18, 30), (0.58, 0.85), (0.32, 0.52)),
    "black": ((0, 360), (0.0, 0.25), (0.0, 0.12)),
    "white": ((0, 360), (0.0, 0.03), (0.94, 1.0)),
    "gray": ((0, 360), (0.0, 0.05), (0.42, 0.62)),
}
BACKGROUNDS = {"train": ["plain", "plain", "linear", "blobs", "stripes", "grain", "panels"], "held": ["radial", "checker", "dots", "waves"]}

SIGNS = """Open|Closed|Stop|Exit|Enter|Welcome|Sale|Free|Push|Pull|Wait|Go|Hello|Thank you|No parking|Please wait|Keep left|Keep right
Fresh bread|Coffee|Hot tea|Ice cream|Pizza|Bakery|Library|School|Hospital|Hotel|Taxi|Bus stop|Train station|Danger|Warning|Caution
Wet paint|Do not enter|One way|Slow down|For sale|Help wanted|Out of order|Restrooms|Lost and found|Happy birthday|Good morning
Good night|Hello world|Home sweet home|Open daily|Beach|Museum|Market|Garden|Kitchen|Office|Private|Quiet please|Road closed
Swift|Vision|Language|Model|Picture|Answer|Question|Lunch|Dinner|Breakfast|Menu|Tickets|Parking|Information|Airport|Speed limit""".replace("\n", "|").split("|")

LABELS = ["Mon|Tue|Wed|Thu|Fri|Sat|Sun", "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec", "Tea|Coffee|Milk|Juice|Water|Soda|Cocoa",
          "North|South|East|West", "Apples|Pears|Plums|Grapes|Lemons|Figs|Dates", "Cats|Dogs|Birds|Fish|Mice|Frogs", "A|B|C|D|E|F|G",
          "Rome|Paris|Oslo|Lima|Cairo|Delhi|Tokyo|Bern", "Rice|Corn|Wheat|Oats|Rye|Beans", "Bus|Car|Train|Bike|Boat|Plane", "2019|2020|2021|2022|2023|2024|2025|2026",
          "Red|Green|Blue|Pink|Gold|Gray", "Math|Art|Music|Sport|Latin|Drama", "Spring|Summer|Autumn|Winter", "Q1|Q2|Q3|Q4"]
LABELS = [row.split("|") for row in LABELS]
TITLES = ["Sales", "Results", "Votes", "Visitors", "Sales by month", "Harvest", "Survey", "Favourite drinks", "Travel", "Budget", "Scores", "Total"]


class Library:
    """The fonts and words of a `prepare_fonts.py` folder, split into the part for training and the part held out."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        table = json.loads((self.folder / "fonts.json").read_text())
        # A family is drawn as often as another, however many weights it has.
        self.fonts = {}
        for split in ("train", "held"):
            families = {}
            for row in table:
                if row["split"] == split:
                    families.setdefault(row["family"], []).append(row["file"])
            self.fonts[split] = [families[name] for name in sorted(families)]
        words = (self.folder / "words.txt").read_text().split()
        words = [w for w in words if not set(w) <= set("cosvwxz")]  # the same shape in both cases
        common = [w for w in words if len(w) <= 9]
        self.words = {"train": [], "held": []}
        for word in common:
            number = functools.reduce(lambda value, ch: (value * 131 + ord(ch)) % 1000003, word, 7)
            self.words["held" if number % 10 == 0 else "train"].append(word)

    def font_file(self, rng, split):
        return rng.choice(rng.choice(self.fonts[split]))

    @functools.lru_cache(maxsize=6000)
    def font(self, name, size):
        return ImageFont.truetype(str(self.folder / name), size, layout_engine=ImageFont.Layout.BASIC)


def smart_resize(height, width):
    """The size (height, width) that transformers' Qwen2VL image processor makes of a picture."""
    h, w = round(height / FACTOR) * FACTOR, round(width / FACTOR) * FACTOR
    if h * w > MAX_PIXELS:
        beta = math.sqrt(height * width / MAX_PIXELS)
        h, w = max(FACTOR, int(height / beta / FACTOR) * FACTOR), max(FACTOR, int(width / beta / FACTOR) * FACTOR)
    elif h * w < MIN_PIXELS:
        beta = math.sqrt(MIN_PIXELS / (height * width))
        h, w = math.ceil(height * beta / FACTOR) * FACTOR, math.ceil(width * beta / FACTOR) * FACTOR
    return h, w


def random_color(rng, name):
    hue, saturation, value = (rng.uniform(*r) for r in COLORS[name])
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value))


def luminance(c):
    return 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2]


def distance(a, b):
    mean = (a[0] + b[0]) / 2
    r, g, b_ = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    return math.sqrt((2 + mean / 256) * r * r + 4 * g * g + (2 + (255 - mean) / 256) * b_ * b_)


def any_color(rng):
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb(rng.random(), rng.random() ** 0.8, rng.random() ** 0.6))


def mix(a, b, t):
    return tuple(round(x + (y - x) * t) for x, y in zip(a, b))


class Canvas:
    """A picture being drawn. `scale` is canvas pixels per pixel of what the model will see."""

    def __init__(self, rng, library, width, height, split, words, scale, clean=False, dense=False):
        self.rng, self.library, self.split, self.scale, self.clean = rng, library, split, scale, clean
        self.dense = dense
        self.words = library.words[words]
        self.w, self.h = width, height
        self.unit = math.sqrt(width * height)
        self.image = None
        self.draw = None
        self.tones = []

    def background(self, base, name=None, calm=False):
        """Fills the picture with `base` and a weak pattern; remembers the tones so that what is drawn stands out from them."""
        rng = self.rng
        style = name or rng.choice(BACKGROUNDS[self.split])
        strength = rng.uniform(0.03, 0.10 if calm else 0.22)
        other = mix(base, rng.choice([(0, 0, 0), (255, 255, 255), any_color(rng)]), strength)
        self.tones = [base] if style == "plain" else [base, other]
        w, h = self.w, self.h
        if style in ("linear", "radial", "blobs", "waves"):
            n = 24
            y, x = np.mgrid[0:n, 0:n] / (n - 1)
            if style == "linear":
                angle = rng.uniform(0, 2 * math.pi)
                t = (x - 0.5) * math.cos(angle) + (y - 0.5) * math.sin(angle) + 0.5
            elif style == "radial":
                t = np.hypot(x - rng.uniform(0.2, 0.8), y - rng.uniform(0.2, 0.8))
            elif style == "waves":
                t = 0.5 + 0.5 * np.sin(x * rng.uniform(4, 14) + 2 * np.sin(y * rng.uniform(3, 9)))
            else:
                t = np.zeros((n, n))
                for _ in range(4):
                    t = t + rng.uniform(-1, 1) * np.exp(-((x - rng.random()) ** 2 + (y - rng.random()) ** 2) / rng.uniform(0.02, 0.3))
            t = np.clip(t, 0, 1)[..., None]
            small = np.array(base) * (1 - t) + np.array(other) * t
            self.image = Image.fromarray(small.round().astype(np.uint8)).resize((w, h), Image.Resampling.BICUBIC)
        else:
            self.image = Image.new("RGB", (w, h), base)
        draw = self.draw = ImageDraw.Draw(self.image)
        if style == "stripes":
            step, slant = self.unit * rng.uniform(0.04, 0.15), rng.uniform(-1, 1) * h
            for i in range(int((w + 2 * h) / step) + 1):
                if i % 2:
                    a = i * step - h
                    draw.polygon([(a, 0), (a + step, 0), (a + step + slant, h), (a + slant, h)], fill=other)
        elif style == "panels":
            edge = rng.uniform(0.3, 0.7)
            draw.rectangle((0, h * edge, w, h) if rng.random() < 0.5 else (w * edge, 0, w, h), fill=other)
        elif style == "checker":
            step = self.unit * rng.uniform(0.06, 0.16)
            for i in range(int(w / step) + 1):
                for j in range(int(h / step) + 1):
                    if (i + j) % 2:
                        draw.rectangle((i * step, j * step, (i + 1) * step, (j + 1) * step), fill=other)
        elif style == "dots":
            step = self.unit * rng.uniform(0.05, 0.12)
            r = step * rng.uniform(0.08, 0.2)
            for i in range(int(w / step) + 1):
                for j in range(int(h / step) + 1):
                    x, y = (i + 0.5) * step, (j + 0.5) * step
                    draw.ellipse((x - r, y - r, x + r, y + r), fill=other)
        elif style == "grain":
            tile = np.random.RandomState(rng.getrandbits(30)).normal(0, rng.uniform(3, 14), (h // 2 + 1, w // 2 + 1, 1)).astype(np.float32)
            tile = np.repeat(np.repeat(tile, 2, 0), 2, 1)[:h, :w]
            self.image = Image.fromarray(np.clip(np.asarray(self.image, dtype=np.float32) + tile, 0, 255).astype(np.uint8))
            self.draw = ImageDraw.Draw(self.image)

    def contrast(self, color, tones=None):
        return min(distance(color, tone) for tone in tones or self.tones)

    def text_color(self, tones, named):
        """A colour that can be read on `tones`, with its name where it has one."""
        for _ in range(40):
            name = self.rng.choice(list(COLORS)) if named else None
            color = random_color(self.rng, name) if named else any_color(self.rng)
            if min(abs(luminance(color) - luminance(t)) for t in tones) > 85 and self.contrast(color, tones) > 190:
                return color, name
        dark = luminance(tones[0]) > 128
        return ((15, 15, 15), "black") if dark else ((248, 248, 248), "white")


def polygon(kind, cx, cy, r, angle, rng):
    """The outline of a shape that fits a circle of radius r (a circle has many corners)."""
    if kind == "circle":
        points = [(math.cos(2 * math.pi * i / 48), math.sin(2 * math.pi * i / 48)) for i in range(48)]
        points = [(0.92 * x, 0.92 * y) for x, y in points]
    elif kind == "square":
        points = [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]
    elif kind == "triangle":
        points = [(0, -0.95), (0.95, 0.75), (-0.95, 0.75)]
    elif kind == "diamond":
        points = [(0, -1.05), (0.68, 0), (0, 1.05), (-0.68, 0)]
    elif kind == "star":
        points = []
        for i in range(10):
            a, q = -math.pi / 2 + i * math.pi / 5, 1.05 if i % 2 == 0 else 0.46
            points.append((q * math.cos(a), q * math.sin(a)))
    else:
        points = []
        for i in range(40):
            t = 2 * math.pi * i / 40
            points.append((16 * math.sin(t) ** 3 / 17, -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 17 - 0.1))
    c, s = math.cos(angle), math.sin(angle)
    return [(cx + r * (x * c - y * s), cy + r * (x * s + y * c)) for x, y in points]


def draw_shape(canvas, kind, color, cx, cy, r):
    rng, draw = canvas.rng, canvas.draw
    angle = 0.0 if canvas.clean or rng.random() < 0.5 else rng.uniform(-0.2, 0.2)
    points = polygon(kind, cx, cy, r, angle, rng)
    style = 0.5 if canvas.clean else rng.random()
    if style < 0.07 and r > 14 * canvas.scale:  # outline only
        hole = rng.uniform(0.5, 0.66)
        draw.polygon(points, fill=color)
        draw.polygon([(cx + hole * (x - cx), cy + hole * (y - cy)) for x, y in points], fill=canvas.tones[0])
        return
    if style > 0.9:  # soft shadow
        d = r * 0.1
        draw.polygon([(x + d, y + d) for x, y in points], fill=mix(canvas.tones[0], (0, 0, 0), 0.25))
    draw.polygon(points, fill=color)
    if style > 0.75:
        edge = mix(color, (0, 0, 0), rng.uniform(0.2, 0.5))
        draw.line([*points, points[0], points[1]], fill=edge, width=max(1, round(r * rng.uniform(0.05, 0.12))), joint="curve")


def place(rng, count, w, h, radii, top=0.0):
    """Centres of non-overlapping circles in w times (top h … h), or None."""
    spots = []
    for r in radii:
        for _ in range(60):
            if w - 2.1 * r <= 0 or h * (1 - top) - 2.1 * r <= 0:
                return None
            x, y = rng.uniform(1.05 * r, w - 1.05 * r), rng.uniform(top * h + 1.05 * r, h - 1.05 * r)
            if all(math.hypot(x - a, y - b) > 1.12 * (r + q) for a, b, q in spots):
                spots.append((x, y, r))
                break
        else:
            return None
    return spots


def shapes_scene(canvas, easy=False, count=None, top=0.0, pool=None):
    """Draws coloured shapes; returns the facts {"shapes": [(kind, colour, x, y, r)] in picture fractions}."""
    rng = canvas.rng
    if canvas.image is None:
        base = random_color(rng, rng.choice(["white"] * 6 + ["black", "gray", "blue", "green"])) if rng.random() < 0.6 else any_color(rng)
        if rng.random() < 0.4:
            base = mix(base, (255, 255, 255), rng.uniform(0.4, 0.9))
        canvas.background(base)
    if count is None:
        count = rng.randint(1, 3) if easy else rng.choice([1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 8, 9])
    if pool:
        kinds, colors = pool
    else:
        kinds = rng.sample(KINDS, min(len(KINDS), rng.choice([1, 2, 2, 3, 3, 4])))
        usable = [(n, random_color(rng, n)) for n in COLORS]
        usable = [(n, c) for n, c in usable if canvas.contrast(c) > 175]
        rng.shuffle(usable)
        colors = usable[: rng.choice([1, 2, 2, 3, 3, 4])]
    colors = [(n, c) for n, c in colors if canvas.contrast(c) > 150] or [canvas.text_color(canvas.tones, True)[::-1]]
    h_free = canvas.h * (1 - top)
    limit = min(canvas.w, h_free)
    biggest = min(0.46 * limit, 0.5 * math.sqrt(canvas.w * h_free) / math.sqrt(max(1, count)) * 0.8)
    smallest = min(biggest, max(11 * canvas.scale, 0.045 * canvas.unit))
    spots = None
    for _ in range(12):
        big = rng.uniform(smallest, biggest)
        even = rng.random() < 0.4
        radii = [big if even else rng.uniform(max(smallest, 0.5 * big), big) for _ in range(count)]
        spots = place(rng, count, canvas.w, canvas.h, sorted(radii, reverse=True), top)
        if spots:
            break
        biggest = max(smallest, biggest * 0.85)
    spots = spots or []
    rng.shuffle(spots)
    shapes = []
    for x, y, r in spots:
        kind, (name, color) = rng.choice(kinds), rng.choice(colors)
        draw_shape(canvas, kind, color, x, y, r)
        shapes.append((kind, name, x / canvas.w, y / canvas.h, r / canvas.unit))
    return {"shapes": shapes}


def pseudo_word(rng):
    if rng.random() < 0.6:
        return "".join(rng.choice("bcdfghjklmnprstvwyz") + rng.choice("aeiou") + (rng.choice("nrstlm") if rng.random() < 0.4 else "") for _ in range(rng.randint(2, 3)))
    return "".join(rng.choice("abcdefghjkmnpqrstuvwxyz") for _ in range(rng.randint(3, 7)))


def cased(rng, text):
    return rng.choice([text.upper(), text.upper(), text.capitalize(), text.capitalize(), text.lower()])


def number_text(rng):
    return rng.choice([lambda: str(rng.randint(10, 9999)), lambda: f"{rng.randint(1, 12)}:{rng.randint(0, 59):02d}", lambda: f"${rng.randint(1, 99)}.{rng.randint(0, 99):02d}",
                       lambda: f"{rng.randint(1, 99)}%", lambda: str(rng.randint(2, 99))])()


def line_text(rng, words, easy=False):
    roll = rng.random()
    if easy:
        return cased(rng, rng.choice(words) if roll < 0.7 else pseudo_word(rng))
    if roll < 0.42:
        return cased(rng, rng.choice(words))
    if roll < 0.58:
        style = rng.choice([str.upper, str.lower, str.capitalize, str.title])
        return style(" ".join(rng.choice(words) for _ in range(rng.choice([2, 2, 3]))))
    if roll < 0.72:
        return cased(rng, pseudo_word(rng))
    if roll < 0.84:
        word = rng.choice(["room", "exit", "gate", "bus", "line", "open", "platform", "level", "from", "only", "floor", "page", rng.choice(words), rng.choice(words)])
        text = cased(rng, word)
        number = number_text(rng)
        return f"{text} {number}" if rng.random() < 0.8 else f"{number} {text}"
    if roll < 0.89:
        return number_text(rng)
    if roll < 0.93:
        return cased(rng, rng.choice(words)) + rng.choice(["!", "!", "?", "."])
    return rng.choice([str.upper, str.capitalize, str.title, str])(rng.choice(SIGNS))


def text_block(canvas, lines, box, tones, named=False, least=17.0, most=None, file=None):
    """Draws lines inside box (x0, y0, x1, y1). Returns (colour name or None), or False where they cannot be drawn legibly."""
    rng = canvas.rng
    file = file or canvas.library.font_file(rng, canvas.split)
    x0, y0, x1, y1 = box
    reference = canvas.library.font(file, 64)
    widest = max(reference.getlength(line) for line in lines) / 64
    spacing = rng.uniform(1.05, 1.45)
    em_max = min((x1 - x0) / widest, (y1 - y0) / (1.2 + spacing * (len(lines) - 1)))
    em_min = least * canvas.scale
    if most:
        em_max = min(em_max, most)
    if em_max < em_min:
        return False
    low = max(em_min, 0.3 * em_max)
    em = em_max if canvas.clean else math.exp(rng.uniform(math.log(low), math.log(em_max)))
    size = max(6, int(em))
    if size > 40:
        size -= size % 4
    font = canvas.library.font(file, size)
    color, name = canvas.text_color(tones, named)
    step = size * spacing
    boxes = [font.getbbox(line) for line in lines]
    top, bottom = boxes[0][1], step * (len(lines) - 1) + boxes[-1][3]
    width = max(b[2] for b in boxes)
    free_x, free_y = x1 - x0 - width, y1 - y0 - (bottom - top)
    middle = canvas.clean or rng.random() < 0.5
    px = x0 + max(0.0, free_x) * (0.5 if middle else rng.random())
    py = y0 + max(0.0, free_y) * (0.5 if middle else rng.random()) - top
    align = rng.choice([0.5, 0.5, 0.0])
    angle = 0.0 if canvas.clean or rng.random() < 0.5 else rng.gauss(0, 3.0)
    effect = 1.0 if canvas.clean else rng.random()
    angle = max(-9.0, min(9.0, angle))
    if abs(angle) < 0.3:
        draw, ox, oy = canvas.draw, 0.0, 0.0
        layer = None
    else:
        pad = size
        layer = Image.new("L", (int(width + 2 * pad), int(bottom - top + 2 * pad)))
        draw, ox, oy = ImageDraw.Draw(layer), pad - px, pad - top - py

    def put(dx, dy, fill):
        for i, line in enumerate(lines):
            draw.text((px + ox + dx + (width - boxes[i][2]) * align, py + oy + dy + i * step), line, font=font, fill=fill)

    if layer is None:
        if effect < 0.06:
            d = max(1, size // 14)
            put(d, d, mix(tones[0], color, 0.3))
        put(0, 0, color)
    else:
        put(0, 0, 255)
        layer = layer.rotate(angle, Image.Resampling.BILINEAR)
        canvas.image.paste(Image.new("RGB", layer.size, color), (round(px - pad), round(py + top - pad)), layer)
    return name or ""


def sign_scene(canvas, easy=False, lines=None, named=None):
    """Draws a sign; returns {"text": lines, "color": name of the text's colour or ""}."""
    rng = canvas.rng
    words = canvas.words
    base = any_color(rng) if rng.random() < 0.6 else random_color(rng, rng.choice(list(COLORS)))
    named = rng.random() < 0.6 if named is None else named
    canvas.background(base, calm=rng.random() < 0.5)
    box, tones = (0.04 * canvas.w, 0.05 * canvas.h, 0.96 * canvas.w, 0.95 * canvas.h), canvas.tones
    panel = rng.random() < 0.45 or canvas.clean
    panel_name = None
    if panel:
        a, b = rng.uniform(0.02, 0.14), rng.uniform(0.02, 0.2)
        outer = (a * canvas.w, b * canvas.h, (1 - rng.uniform(0.02, 0.14)) * canvas.w, (1 - rng.uniform(0.02, 0.25)) * canvas.h)
        for _ in range(20):
            panel_name = rng.choice(list(COLORS))
            fill = random_color(rng, panel_name)
            if canvas.contrast(fill) > 90:
                break
        if rng.random() < 0.15:
            canvas.draw.rectangle((canvas.w * 0.47, outer[3], canvas.w * 0.53, canvas.h), fill=mix(fill, (60, 60, 60), 0.7))
        radius = rng.choice([0, 0.03, 0.08]) * canvas.unit
        canvas.draw.rounded_rectangle(outer, radius=radius, fill=fill, outline=mix(fill, (255, 255, 255) if luminance(fill) < 128 else (0, 0, 0), rng.uniform(0, 0.9)),
                                      width=max(1, round(canvas.unit * rng.uniform(0.004, 0.02))))
        pad = 0.03 * canvas.unit + radius * 0.3
        box, tones = (outer[0] + pad, outer[1] + pad, outer[2] - pad, outer[3] - pad), [fill]
    for attempt in range(30):
        chosen = lines
        if chosen is None:
            wide = (box[2] - box[0]) / (box[3] - box[1])
            n = 1 if easy else rng.choice([1] if wide > 4 else [1, 1, 1, 2, 2, 3, 3, 4] if canvas.dense else [1, 1, 1, 1, 2, 2, 3])
            chosen = [line_text(rng, words, easy or attempt > 15) for _ in range(n)]
        name = text_block(canvas, chosen, box, tones, named, least=24.0 if easy else 17.0)
        if name is not False:
            return {"text": chosen, "color": name, "panel": panel_name if panel and name else None}
    return {"text": [], "color": "", "panel": None}


def caption_scene(canvas, easy=False):
    """Shapes with a short caption above them."""
    rng = canvas.rng
    base = random_color(rng, "white") if rng.random() < 0.5 else mix(any_color(rng), (255, 255, 255), rng.uniform(0.2, 0.9))
    canvas.background(base, calm=True)
    band = rng.uniform(0.22, 0.35)
    text = line_text(rng, canvas.words, True)
    name = text_block(canvas, [text], (0.05 * canvas.w, 0.02 * canvas.h, 0.95 * canvas.w, band * canvas.h), canvas.tones, rng.random() < 0.5)
    facts = shapes_scene(canvas, count=rng.randint(1, 5), top=band)
    facts.update({"text": [text] if name is not False else [], "color": name or "", "panel": None})
    return facts


def chart_scene(canvas, easy=False):
    """Draws a bar chart; returns {"chart": [(label, height, colour name)], "title": text or None}."""
    rng = canvas.rng
    dark = rng.random() < 0.15
    base = mix((20, 20, 25) if dark else (255, 255, 255), any_color(rng), rng.uniform(0, 0.12))
    canvas.background(base, name="plain" if rng.random() < 0.7 else None, calm=True)
    ink = (235, 235, 235) if dark else mix((0, 0, 0), any_color(rng), 0.2)
    pick = canvas.library.font_file(rng, canvas.split)
    flat = rng.random() < 0.3
    w, h = canvas.w, canvas.h
    for attempt in range(40):
        n = rng.randint(2, 4) if easy or attempt > 20 else rng.randint(2, 6)
        roll = rng.random()
        if roll < 0.6:
            row = rng.choice(LABELS)
            n = min(n, len(row))
            if rng.random() < 0.6:
                start = rng.randint(0, len(row) - n)
                labels = row[start : start + n]
            else:
                labels = rng.sample(row, n)
        else:
            labels = []
            while len(labels) < n:
                word = rng.choice(canvas.words)
                if len(word) <= 6 and word.capitalize() not in labels:
                    labels.append(word.capitalize())
        em = rng.uniform(16, 25) * canvas.scale
        if attempt > 12:
            em = 16 * canvas.scale
        size = max(6, math.ceil(em))
        font = canvas.library.font(pick, size)
        widths = [font.getlength(x) for x in labels]
        if flat:
            left, slot = 0.04 * w + max(widths) + 0.3 * size, h * 0.9 / n
            if slot > 1.35 * size and left < 0.5 * w:
                break
        else:
            left, slot = 0.08 * w, w * 0.88 / n
            if max(widths) < 0.92 * slot and h > 6 * size:
                break
        flat = not flat if attempt % 10 == 9 else flat
    else:
        return sign_scene(canvas, easy)
    title = None
    top = 0.05 * h
    if rng.random() < 0.4:
        title = rng.choice(TITLES)
        em = size * rng.uniform(1.0, 1.4)
        title_font = canvas.library.font(pick, max(6, int(em)))
        if title_font.getlength(title) < 0.9 * w and 2.2 * em < 0.3 * h and not (flat and (h - 1.8 * em) * 0.92 / n < 1.3 * size):
            canvas.draw.text(((w - title_font.getlength(title)) / 2, 0.02 * h), title, font=title_font, fill=ink)
            top = 0.02 * h + 1.6 * em
        else:
            title = None
    values = None
    for _ in range(200):
        values = [rng.uniform(0.1, 1.0) for _ in range(n)]
        order = sorted(values)
        if order[-1] - order[-2] > 0.09 and order[1] - order[0] > 0.07:
            break
    else:
        values = [0.3 + 0.12 * i for i in range(n)]
    peak = rng.uniform(0.75, 1.0) / max(values)
    values = [v * peak for v in values]
    usable = [(c, random_color(rng, c)) for c in COLORS]
    usable = [(c, v) for c, v in usable if canvas.contrast(v) > 160]
    rng.shuffle(usable)
    same = rng.random() < 0.4
    bars = []
    thick = rng.uniform(0.5, 0.85)
    bottom = h - 0.03 * h - 1.5 * size
    if flat:
        bottom, slot = 0.96 * h, (0.96 * h - top) / n
        length = 0.95 * w - left
    else:
        length = bottom - top
    if rng.random() < 0.4:
        for i in range(1, 5):
            line = mix(base, ink, 0.2)
            at = i / 4
            canvas.draw.line((left + length * at, top, left + length * at, bottom) if flat else (left, bottom - length * at, left + slot * n, bottom - length * at), fill=line, width=max(1, round(canvas.scale)))
    for i, (label, value) in enumerate(zip(labels, values)):
        name, color = usable[0] if same else usable[i % len(usable)]
        if flat:
            y = top + slot * i + slot * (1 - thick) / 2
            rectangle = (left, y, left + length * value, y + slot * thick)
            canvas.draw.text((left - 0.3 * size - widths[i], y + slot * thick / 2 - 0.62 * size), label, font=font, fill=ink)
        else:
            x = left + slot * i + slot * (1 - thick) / 2
            rectangle = (x, bottom - length * value, x + slot * thick, bottom)
            canvas.draw.text((x + slot * thick / 2 - widths[i] / 2, bottom + 0.15 * size), label, font=font, fill=ink)
        canvas.draw.rectangle(rectangle, fill=color)
        bars.append((label, value, name))
    axis = max(1, round(canvas.scale * rng.uniform(1, 2.5)))
    canvas.draw.line((left, top, left, bottom), fill=ink, width=axis)
    if not flat:
        canvas.draw.line((left, bottom, left + slot * n, bottom), fill=ink, width=axis)
    return {"chart": bars, "title": title}


SCENES = {"sign": sign_scene, "shapes": shapes_scene, "chart": chart_scene, "caption": caption_scene}


def degrade(image, rng, scale):
    """Noise, blur, JPEG artefacts and tone changes, each on some of the pictures."""
    if rng.random() < 0.12:
        image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.3, 1.1) * scale))
    if rng.random() < 0.25:
        table = np.arange(256) / 255
        gain, lift = rng.uniform(0.8, 1.0), rng.uniform(0, 0.12)
        curve = np.clip(lift + (1 - lift) * gain * table ** rng.uniform(0.85, 1.2), 0, 1)
        image = image.point(list((255 * curve).round().astype(int)) * 3)
    if rng.random() < 0.22:
        array = np.asarray(image, dtype=np.int16)
        sigma = rng.uniform(2, 12)
        noise = np.random.RandomState(rng.getrandbits(30)).randint(-100, 101, array.shape, dtype=np.int16)
        image = Image.fromarray(np.clip(array + noise * round(sigma * 1.7) // 100, 0, 255).astype(np.uint8))
    if rng.random() < 0.15:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=rng.randint(35, 92))
        image = Image.open(buffer).convert("RGB")
    return image


def picture(rng, library, kind, split="train", words="train", size=None, model_size=None, easy=False, clean=False, **options):
    """Draws one picture.

    In training `model_size` (height, width) is what the model sees: the canvas is drawn at another scale and resized to it. In
    evaluation `size` (height, width) is the picture's own size and the image processor does the rest.
    Returns (image, facts).
    """
    if model_size:
        roll = rng.random()
        scale = 1.0 if roll < 0.2 else rng.uniform(0.6, 1.0) if roll < 0.32 else 1.0 + rng.random() ** 2
        stretch = 1.0 if roll < 0.2 else rng.uniform(0.94, 1.06)
        height, width = round(model_size[0] * scale * stretch), round(model_size[1] * scale / stretch)
    else:
        height, width = size
        seen = smart_resize(height, width)
        scale = math.sqrt(height * width / (seen[0] * seen[1]))
    canvas = Canvas(rng, library, width, height, split, words, max(scale, 0.8) if scale < 1 else scale, clean, dense=model_size is not None)
    facts = SCENES[kind](canvas, easy, **options)
    image = canvas.image
    if not clean:
        image = degrade(image, rng, scale)
    if model_size and image.size != (model_size[1], model_size[0]):
        how = rng.choice([Image.Resampling.BICUBIC, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BILINEAR])
        image = image.resize((model_size[1], model_size[0]), how)
    return image, facts


def random_size(rng):
    """A picture size (height, width) as people have them: from icons to photographs, square to panorama."""
    area = math.exp(rng.uniform(math.log(150 * 150), math.log(1000 * 1000)))
    aspect = math.exp(max(-1.5, min(1.5, rng.gauss(0, 0.5))))
    return max(64, round(math.sqrt(area / aspect))), max(64, round(math.sqrt(area * aspect)))
