"""Runs commands and draws what a terminal shows as an SVG: python Tools/terminal-picture/draw.py > docs/terminal.svg

Needs a release build and nothing but Python's standard library. Every line in the picture is what the command printed.
"""

import html
import shlex
import subprocess
import sys

COMMANDS = [
    'vlm run demo "What does the sign say?" --image Examples/sign.png',
    'vlm run demo "Describe it." --image Examples/shapes.jpg',
    'vlm run demo "Which bar is the largest?" --image Examples/chart.png',
    'vlm run demo "Which picture has more circles?" --image Examples/left.jpg --image Examples/right.jpg',
    'vlm run demo "How many circles are there?" --image Examples/shapes.jpg --output json',
]
WIDTH, LINE, COLUMNS, MARGIN = 860, 22, 98, 20


def lines():
    for command in COMMANDS:
        yield "command", command
        run = subprocess.run([".build/release/vlm", *shlex.split(command)[1:]], capture_output=True, text=True, check=True)
        text = run.stdout.rstrip("\n")
        for start in range(0, len(text), COLUMNS):
            yield "output", text[start : start + COLUMNS]


def main() -> None:
    rows = list(lines())
    height = 2 * MARGIN + 34 + LINE * len(rows)
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">')
    print("<title>A terminal: vlm answers questions about pictures</title>")
    print(f'<rect width="{WIDTH}" height="{height}" rx="10" fill="#1d2230"/>')
    for index, colour in enumerate(("#ff5f57", "#febc2e", "#28c840")):
        print(f'<circle cx="{MARGIN + 6 + 20 * index}" cy="{MARGIN + 2}" r="6" fill="{colour}"/>')
    print('<g font-family="ui-monospace, SFMono-Regular, Menlo, DejaVu Sans Mono, monospace" font-size="13.5" xml:space="preserve">')
    y = MARGIN + 44
    for kind, text in rows:
        if kind == "command":
            print(f'<text x="{MARGIN}" y="{y}"><tspan fill="#28c840">$ </tspan><tspan fill="#e8ebf2">{html.escape(text)}</tspan></text>')
        else:
            print(f'<text x="{MARGIN}" y="{y}" fill="#9ecbff">{html.escape(text)}</text>')
        y += LINE
    print("</g></svg>")


if __name__ == "__main__":
    sys.exit(main())
