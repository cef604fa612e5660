"""Draws the pictures of Examples/ with fonts and backgrounds that training never saw, and checks the model's answers.

Usage: examples.py DATA CHECKPOINT OUT
"""

import pathlib
import random
import sys

from PIL import Image

from scenes import Canvas, Library, draw_shape, mix

COLORS = {"red": (214, 48, 49), "blue": (38, 98, 217), "green": (46, 160, 67), "orange": (245, 140, 20), "purple": (124, 58, 168), "yellow": (250, 204, 21)}


def canvas(library, width, height, base, style, seed):
    c = Canvas(random.Random(seed), library, width * 2, height * 2, "held", "held", 3.0, clean=True)
    c.background(base, name=style, calm=True)
    return c


def finish(c):
    return c.image.resize((c.w // 2, c.h // 2), Image.Resampling.LANCZOS)


def font(library, family, size):
    import json
    rows = json.loads((library.folder / "fonts.json").read_text())
    file = next(r["file"] for r in rows if r["family"] == family and "Bold" in r["source"])
    return library.font(file, size)


def sign(library):
    c = canvas(library, 900, 600, (176, 214, 232), "radial", "sign")
    d, u = c.draw, 2
    d.rectangle((0, 470 * u, 900 * u, 600 * u), fill=(150, 190, 120))
    d.rectangle((438 * u, 380 * u, 462 * u, 600 * u), fill=(120, 92, 66))
    d.rounded_rectangle((130 * u, 110 * u, 770 * u, 400 * u), radius=36 * u, fill=(20, 92, 70), outline=(244, 240, 225), width=10 * u)
    f = font(library, "Karla", 118 * u)
    for i, line in enumerate(["FRESH", "COFFEE"]):
        w = f.getlength(line)
        d.text((450 * u - w / 2, (122 + i * 122) * u), line, font=f, fill=(250, 246, 232))
    return finish(c)


def shapes(library, items, base, style, seed, size=(800, 600)):
    c = canvas(library, *size, base, style, seed)
    for kind, color, x, y, r in items:
        draw_shape(c, kind, COLORS[color], x * 2, y * 2, r * 2)
    return finish(c)


def chart(library):
    c = canvas(library, 840, 600, (252, 252, 250), "plain", "chart")
    d, u, ink = c.draw, 2, (40, 44, 52)
    bars = [("Tea", 0.55, "green"), ("Coffee", 0.92, "blue"), ("Juice", 0.38, "orange"), ("Water", 0.70, "purple")]
    f, big = font(library, "Karla", 38 * u), font(library, "Karla", 46 * u)
    title = "Drinks sold"
    d.text((420 * u - big.getlength(title) / 2, 20 * u), title, font=big, fill=ink)
    for i in range(5):
        y = (510 - i * 100) * u
        d.line((80 * u, y, 800 * u, y), fill=(225, 226, 230), width=2 * u)
    for i, (label, value, color) in enumerate(bars):
        x = 110 + i * 176
        d.rectangle((x * u, (510 - 400 * value) * u, (x + 120) * u, 510 * u), fill=COLORS[color])
        d.text(((x + 60) * u - f.getlength(label) / 2, 522 * u), label, font=f, fill=ink)
    d.line((80 * u, 100 * u, 80 * u, 510 * u), fill=ink, width=4 * u)
    d.line((80 * u, 510 * u, 800 * u, 510 * u), fill=ink, width=4 * u)
    return finish(c)


def main():
    data, checkpoint, out = sys.argv[1:]
    library, out = Library(data), pathlib.Path(out)
    out.mkdir(exist_ok=True)
    sign(library).save(out / "sign.png", optimize=True)
    shapes(library, [("circle", "red", 160, 170, 95), ("circle", "blue", 420, 430, 110), ("square", "green", 640, 160, 95), ("star", "orange", 170, 440, 105), ("circle", "purple", 665, 440, 85)],
           (246, 244, 238), "waves", "shapes").save(out / "shapes.jpg", quality=90)
    chart(library).save(out / "chart.png", optimize=True)
    shapes(library, [("circle", "red", 170, 190, 100), ("star", "blue", 430, 300, 110), ("circle", "red", 640, 430, 90)], (240, 243, 248), "radial", "a").save(out / "left.jpg", quality=90)
    shapes(library, [("circle", "green", 150, 150, 75), ("circle", "green", 400, 300, 90), ("circle", "green", 650, 160, 80), ("square", "purple", 190, 450, 90), ("circle", "green", 620, 450, 85)],
           (250, 246, 236), "radial", "b").save(out / "right.jpg", quality=90)

    import torch
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration
    processor = AutoProcessor.from_pretrained(checkpoint)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
    for names, question in [("sign.png", "What does the sign say?"), ("sign.png", "Describe it."), ("shapes.jpg", "How many circles are there?"), ("shapes.jpg", "What is in the picture?"),
                            ("shapes.jpg", "How many shapes are there?"), ("shapes.jpg", "What color is the star?"), ("shapes.jpg", "Is the green square above the purple circle?"),
                            ("shapes.jpg", "Which is further left, the star or the square?"), ("chart.png", "Which bar is the largest?"), ("chart.png", "What is in the picture?"),
                            ("chart.png", "What is the title?"), ("chart.png", "Is Tea larger than Juice?"),
                            ("left.jpg right.jpg", "Which picture has more circles?"), ("left.jpg right.jpg", "Compare these pictures."), ("", "Hello"), ("", "What can you do?")]:
        content = [*({"type": "image", "image": str(out / n)} for n in names.split()), {"type": "text", "text": question}]
        inputs = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=96)
        print(f"{names:20} {question:50} {processor.tokenizer.decode(output[0, inputs['input_ids'].shape[1]:], skip_special_tokens=True)}", flush=True)


main()
