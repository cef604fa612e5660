"""Questions and their exact answers for the facts that `scenes.py` draws.

`ask(rng, facts, task)` gives a (question, answer) pair or None where the picture does not admit the task. Every answer has one
canonical form, so that exact match is a fair measure.
"""

from collections import Counter

from scenes import COLORS, KINDS

NUMBERS = ["No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten"]

READ = ["What does the sign say?", "What does it say?", "Read the text.", "What is written in the picture?", "What text is in the picture?", "Read the sign.",
        "What does the text say?", "What is written here?", "What does the picture say?", "Please read the text.", "What word is this?", "Which words are shown?", "Can you read this?", "What is written on the sign?"]
DESCRIBE = ["Describe it.", "What is in the picture?", "Describe the picture.", "What do you see?", "Describe the image.", "What is in the image?", "Describe this picture in a sentence.",
            "What is this?", "What does the picture show?", "What can you see?", "Describe this image.", "What is shown here?", "Please describe the picture.", "What's in the picture?", "What's in this image?"]
COUNT = ["How many {} are there?", "How many {} are in the picture?", "How many {} do you see?", "Count the {}.", "How many {} can you see?", "How many {} are in the image?", "What is the number of {}?", "How many {}?"]
EXISTS = ["Is there {} in the picture?", "Is there {}?", "Do you see {}?", "Can you see {}?", "Does the picture have {}?", "Is there {} in the image?"]
COLOR = ["What color is the {}?", "Which color is the {}?", "What is the color of the {}?", "What colour is the {}?", "Which colour is the {}?", "What is the colour of the {}?"]
SHAPE = ["Which shape is {}?", "What shape is {}?", "What is the {} shape?", "Which shape is {} in the picture?", "What is {}?"]
LARGEST = ["Which bar is the largest?", "Which bar is the tallest?", "What is the largest bar?", "Which label has the largest bar?", "Which one is the largest?", "Which bar is the highest?", "Which bar is the longest?", "What is the biggest?",
           "Which is the largest bar?", "Which category is the largest?", "Which bar is the biggest?", "Which has the highest value?"]
SMALLEST = ["Which bar is the smallest?", "Which bar is the shortest?", "What is the smallest bar?", "Which label has the smallest bar?", "Which one is the smallest?", "Which bar is the lowest?", "Which has the lowest value?", "Which category is the smallest?"]
SIDES = {
    "left": ["Which shape is furthest to the left?", "What is the leftmost shape?", "Which shape is on the left?", "What is on the left?"],
    "right": ["Which shape is furthest to the right?", "What is the rightmost shape?", "Which shape is on the right?", "What is on the right?"],
    "top": ["Which shape is at the top?", "What is the topmost shape?", "What is at the top?", "Which shape is the highest?"],
    "bottom": ["Which shape is at the bottom?", "What is the lowest shape?", "What is at the bottom?", "Which shape is the lowest?"],
}
RELATIONS = {
    "left": ["left of", "to the left of"],
    "right": ["right of", "to the right of"],
    "above": ["above", "higher than"],
    "below": ["below", "under", "lower than"],
}

NO_TEXT, NO_CHART, NO_SHAPES = "There is no text in the picture.", "There is no chart in the picture.", "There are no shapes in the picture."

CHAT = [
    (["Hello", "Hello!", "Hi", "Hi!", "Hey", "Hi there", "Hello there!", "Good morning", "Good evening"], "Hello! Show me a picture and ask me about it."),
    (["Who are you?", "What are you?", "What is your name?", "Who is this?", "Are you a robot?", "Tell me about yourself."], "I am a small demo model that answers questions about simple pictures."),
    (["What can you do?", "Help", "How can you help me?", "What do you do?", "What are you able to do?", "What can I ask you?", "help me"],
     "I can read short text, count and name coloured shapes, compare their places, read simple bar charts, and describe or compare pictures."),
    (["Who made you?", "Who created you?", "Where do you come from?", "How were you trained?"], "I was trained from nothing on synthetic pictures to ship with this package."),
    (["Thank you", "Thanks", "Thanks!", "Thank you!", "Thank you very much"], "You are welcome."),
    (["Bye", "Goodbye", "Bye!", "Goodbye!", "See you"], "Goodbye!"),
    (["How are you?", "How are you doing?", "How do you do?"], "I am fine, thank you. Show me a picture."),
    (["Describe the picture.", "What does the sign say?", "What is in the picture?", "How many circles are there?", "What do you see?", "Describe it.", "Read the text.", "Compare these pictures.", "What color is the circle?"],
     "There is no picture. Please show me one."),
    (["Tell me a joke.", "Write a poem.", "What is the capital of France?", "What is the weather like?", "Tell me a story.", "What time is it?", "Who is the president?", "What is two plus two?", "Translate this.", "Write some code."],
     "I only know about simple pictures. Show me one and ask me about it."),
]


def plural(kind):
    return kind + "s"


def article(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def join(parts):
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def shape_phrase(shapes):
    """Groups in a fixed order: "two red circles and a blue square"; by kind only where more than four groups remain."""
    if not shapes:
        return "no shapes"
    groups = Counter((k, c) for k, c, *_ in shapes)
    if len(groups) <= 4:
        parts = []
        for kind, color in sorted(groups, key=lambda g: (KINDS.index(g[0]), g[1])):
            n = groups[kind, color]
            parts.append(article(f"{color} {kind}") if n == 1 else f"{NUMBERS[n].lower()} {color} {plural(kind)}")
    else:
        kinds = Counter(k for k, *_ in shapes)
        parts = [article(k) if kinds[k] == 1 else f"{NUMBERS[kinds[k]].lower()} {plural(k)}" for k in KINDS if kinds[k]]
    return join(parts)


def phrase(facts):
    if "chart" in facts:
        labels = [b[0] for b in facts["chart"]]
        return f"a bar chart of {join(labels)}"
    text = " ".join(facts.get("text", []))
    if "shapes" in facts:
        tail = f' and the text "{text}"' if text else ""
        return shape_phrase(facts["shapes"]) + tail
    return f'a sign that says "{text}"'


def sentence(text):
    return text[0].upper() + text[1:] + "."


def unique(shapes, what):
    counts = Counter(what(s) for s in shapes)
    return [s for s in shapes if counts[what(s)] == 1]


def named_shapes(shapes):
    """Shapes that a phrase names without doubt, as (phrase, shape)."""
    both = unique(shapes, lambda s: s[:2])
    return [(f"{s[1]} {s[0]}", s) for s in both]


def ask(rng, facts, task):
    shapes, text, chart = facts.get("shapes"), facts.get("text"), facts.get("chart")
    say = rng.choice
    if task == "read":
        if text:
            return say(READ), " ".join(text)
        return (say(READ[:9]), NO_TEXT) if not chart and text is None else None
    if task == "describe":
        return say(DESCRIBE), sentence(phrase(facts))
    if task == "text color":
        return (say(COLOR).format(say(["text", "text", "writing"])), facts["color"]) if facts.get("color") and text else None
    if task == "sign color":
        return (say(COLOR).format("sign"), facts["panel"]) if facts.get("panel") else None
    if task == "lines":
        if not text:
            return None
        words = " ".join(text).split(" ")
        if rng.random() < 0.5:
            return say(COUNT).format("words"), str(len(words))
        if rng.random() < 0.5:
            return say(["What is the first word?", "Which word is first?", "Read the first word."]), words[0]
        return say(["What is the last word?", "Which word is last?", "Read the last word."]), words[-1]
    if task == "has text":
        return say(["Is there any text in the picture?", "Is there text in the picture?", "Does the picture have text?"]), "Yes" if text or chart else "No"

    if task == "largest":
        if chart:
            return say(LARGEST), max(chart, key=lambda b: b[1])[0]
        return (say(LARGEST[:3]), NO_CHART) if rng.random() < 0.5 else None
    if chart:
        if task == "smallest":
            return say(SMALLEST), min(chart, key=lambda b: b[1])[0]
        if task == "bars":
            return say(COUNT).format("bars"), str(len(chart))
        if task == "bar order":
            a, b = rng.sample(chart, 2)
            if abs(a[1] - b[1]) < 0.06:
                return None
            big = a if a[1] > b[1] else b
            if rng.random() < 0.5:
                return say(["Which is larger, {} or {}?", "Which bar is larger, {} or {}?", "Which bar is taller, {} or {}?"]).format(a[0], b[0]), big[0]
            return say(["Is {} larger than {}?", "Is the {} bar larger than the {} bar?"]).format(a[0], b[0]), "Yes" if big is a else "No"
        if task == "labels":
            return say(["What are the labels?", "Which labels does the chart have?", "Read the labels.", "List the bars."]), join([b[0] for b in chart])
        if task == "bar color":
            which = say(["largest", "smallest"])
            bar = (max if which == "largest" else min)(chart, key=lambda b: b[1])
            return say(COLOR).format(f"{which} bar"), bar[2]
        if task == "title" and facts["title"]:
            return say(["What is the title?", "What is the title of the chart?", "Read the title."]), facts["title"]
        return None

    if shapes is None:  # a sign
        if task == "count kind":
            return say(COUNT).format(plural(say(KINDS))), "0"
        if task == "exists":
            return say(EXISTS).format(article(say(KINDS))), "No"
        return None

    if task == "count":
        return say(COUNT).format(say(["shapes", "shapes", "objects", "things"])), str(len(shapes))
    if task == "count kind":
        kind = say(shapes)[0] if shapes and rng.random() < 0.8 else say(KINDS)
        return say(COUNT).format(plural(kind)), str(sum(s[0] == kind for s in shapes))
    if task == "count color":
        color = say(shapes)[1] if shapes and rng.random() < 0.8 else say(list(COLORS))
        return say(COUNT).format(f"{color} {say(['shapes', 'shapes', 'objects', 'things'])}"), str(sum(s[1] == color for s in shapes))
    if task == "count both":
        kind, color = say(shapes)[:2] if shapes and rng.random() < 0.75 else (say(KINDS), say(list(COLORS)))
        return say(COUNT).format(f"{color} {plural(kind)}"), str(sum(s[:2] == (kind, color) for s in shapes))
    if task == "exists":
        yes = rng.random() < 0.5
        kinds, colors = {s[0] for s in shapes}, {s[1] for s in shapes}
        pairs = {s[:2] for s in shapes}
        form = rng.random()
        if form < 0.3:
            options = [k for k in KINDS if (k in kinds) == yes]
            return (say(EXISTS).format(article(say(options))), "Yes" if yes else "No") if options else None
        if form < 0.5:
            options = [c for c in COLORS if (c in colors) == yes]
            return (say(EXISTS).format(article(say(options) + " shape")), "Yes" if yes else "No") if options else None
        near = [(k, c) for k in KINDS for c in COLORS if ((k, c) in pairs) == yes and (yes or k in kinds or c in colors)]
        if not near:
            return None
        k, c = say(near)
        return say(EXISTS).format(article(f"{c} {k}")), "Yes" if yes else "No"
    if task == "color":
        options = unique(shapes, lambda s: s[0])
        if not options:
            return None
        s = say(options)
        noun = "shape" if len(shapes) == 1 and rng.random() < 0.3 else s[0]
        return say(COLOR).format(noun), s[1]
    if task == "shape":
        options = unique(shapes, lambda s: s[1])
        if not options:
            return None
        s = say(options)
        if len(shapes) == 1 and rng.random() < 0.3:
            return say(["What shape is this?", "Which shape is it?", "Name the shape.", "What shape is in the picture?"]), s[0]
        return say(SHAPE).format(s[1]), s[0]
    if task == "side":
        if len(shapes) < 2:
            return None
        side = say(list(SIDES))
        axis, sign = (2, 1) if side == "left" else (2, -1) if side == "right" else (3, 1) if side == "top" else (3, -1)
        order = sorted(shapes, key=lambda s: sign * s[axis])
        if sign * (order[1][axis] - order[0][axis]) < 0.07:
            return None
        return say(SIDES[side]), f"the {order[0][1]} {order[0][0]}"
    if task in ("relation", "which side"):
        names = named_shapes(shapes)
        if len(names) < 2:
            return None
        (a, s), (b, t) = rng.sample(names, 2)
        kinds = Counter(x[0] for x in shapes)
        if kinds[s[0]] == 1 and kinds[t[0]] == 1 and rng.random() < 0.4:
            a, b = s[0], t[0]
        relation = say(list(RELATIONS))
        axis = 2 if relation in ("left", "right") else 3
        delta = (t[axis] - s[axis]) * (1 if relation in ("left", "above") else -1)
        if abs(delta) < 0.06:
            return None
        if task == "relation":
            return f"Is the {a} {say(RELATIONS[relation])} the {b}?", "Yes" if delta > 0 else "No"
        words = {"left": "further left", "right": "further right", "above": "higher", "below": "lower"}[relation]
        form = say(["Which is {}, the {} or the {}?", "Which shape is {}, the {} or the {}?", "What is {}, the {} or the {}?"])
        return form.format(words, a, b), f"the {a if delta > 0 else b}"
    if task == "next":
        # Only two shapes: the other one is the answer, or nothing is there.
        if len(shapes) != 2 or shapes[0][:2] == shapes[1][:2]:
            return None
        s, t = rng.sample(shapes, 2)
        relation = say(list(RELATIONS))
        axis = 2 if relation in ("left", "right") else 3
        delta = (t[axis] - s[axis]) * (1 if relation in ("left", "above") else -1)
        if abs(delta) < 0.08:
            return None
        where = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}[relation]
        return f"What is {where} the {t[1]} {t[0]}?", f"the {s[1]} {s[0]}" if delta > 0 else "nothing"
    if task == "more":
        kinds = sorted({s[0] for s in shapes}, key=KINDS.index)
        if not kinds:
            return None
        a = say(kinds)
        b = say([k for k in KINDS if k != a])
        if len(kinds) > 1 and rng.random() < 0.8:
            b = say([k for k in kinds if k != a])
        if rng.random() < 0.5:
            a, b = b, a
        n = {k: sum(s[0] == k for s in shapes) for k in (a, b)}
        if rng.random() < 0.5 or n[a] == n[b]:
            return f"Are there more {plural(a)} than {plural(b)}?", "Yes" if n[a] > n[b] else "No"
        return f"Are there more {plural(a)} or {plural(b)}?", plural(a if n[a] > n[b] else b)
    if task == "biggest":
        if len(shapes) < 2:
            return None
        which = say(["largest", "biggest", "smallest"])
        order = sorted(shapes, key=lambda s: s[4], reverse=which != "smallest")
        ratio = order[0][4] / order[1][4]
        if max(ratio, 1 / ratio) < 1.25:
            return None
        return say(["Which shape is the {}?", "What is the {} shape?"]).format(which), f"the {order[0][1]} {order[0][0]}"
    return None


# Tasks of one picture by scene, with weights for training.
MIX = {
    "sign": {"read": 5, "describe": 2, "text color": 1, "sign color": 0.7, "lines": 1, "has text": 0.3, "count kind": 0.3, "exists": 0.3, "largest": 0.15},
    "shapes": {"count": 1.3, "count kind": 1.6, "count color": 1.3, "count both": 1, "exists": 1.0, "color": 0.7, "shape": 0.7, "side": 1.3, "relation": 2.6, "which side": 1.9, "next": 0.9,
               "more": 0.6, "biggest": 0.5, "describe": 2, "read": 0.25, "has text": 0.2, "largest": 0.15},
    "chart": {"largest": 4, "smallest": 1.5, "bars": 1, "bar order": 1.3, "labels": 1, "bar color": 0.7, "title": 0.5, "describe": 1.3, "has text": 0.15},
    "caption": {"read": 2, "describe": 2, "count": 1, "count kind": 1, "color": 0.7, "exists": 0.7, "relation": 0.6, "shape": 0.5, "text color": 0.3, "has text": 0.3},
}


def ask_mixed(rng, facts, scene):
    tasks = MIX[scene]
    names, weights = list(tasks), list(tasks.values())
    for _ in range(20):
        pair = ask(rng, facts, rng.choices(names, weights)[0])
        if pair:
            return pair
    return ask(rng, facts, "describe")


COMPARE = ["Compare these pictures.", "Compare the pictures.", "Compare the two pictures.", "Describe the pictures.", "Describe both pictures.", "What is in the pictures?", "Compare these images.", "Compare the two images.", "What do the pictures show?"]


def ask_pair(rng, first, second, task=None):
    """A question about two pictures shown together."""
    say = rng.choice
    a, b = first.get("shapes"), second.get("shapes")
    ta, tb = " ".join(first.get("text") or []), " ".join(second.get("text") or [])
    tasks = ["compare", "one"]
    if a is not None and b is not None:
        tasks += ["more", "more", "more", "more color", "total", "which has", "fewer"]
    elif (a is None) != (b is None):
        tasks += ["which kind"]
    if ta and tb and a is None and b is None:
        tasks += ["read", "read", "same text"]
    task = task or say(tasks)
    if task == "compare":
        x, y = phrase(first), phrase(second)
        return say(COMPARE), f"Both pictures show {x}." if x == y else f"The first picture shows {x}. The second picture shows {y}."
    if task == "one":
        which, facts = say([("first", first), ("second", second)])
        return say(["What is in the {} picture?", "Describe the {} picture.", "What does the {} picture show?"]).format(which), sentence(phrase(facts))
    if task in ("more", "fewer", "more color"):
        if task == "more color":
            color = say(a + b)[1] if a + b else "red"
            noun, x, y = f"{color} shapes", sum(s[1] == color for s in a), sum(s[1] == color for s in b)
        elif rng.random() < 0.25:
            noun, x, y = "shapes", len(a), len(b)
        else:
            kind = say(a + b)[0] if a + b else "circle"
            noun, x, y = plural(kind), sum(s[0] == kind for s in a), sum(s[0] == kind for s in b)
        word = "fewer" if task == "fewer" else "more"
        if word == "fewer":
            x, y = y, x
        return say(["Which picture has {} {}?", "Which image has {} {}?", "In which picture are there {} {}?"]).format(word, noun), "the first" if x > y else "the second" if y > x else "the same"
    if task == "total":
        kind = say(a + b)[0] if a + b else "circle"
        both = a + b
        if rng.random() < 0.4:
            return say(["How many shapes are there in total?", "How many shapes are there in both pictures?"]), str(len(both))
        return say(["How many {} are there in total?", "How many {} are there in both pictures?"]).format(plural(kind)), str(sum(s[0] == kind for s in both))
    if task == "which has":
        options = [s[:2] for s in a + b if (s[:2] in {t[:2] for t in a}) != (s[:2] in {t[:2] for t in b})]
        if not options:
            return ask_pair(rng, first, second, "more")
        k, c = say(options)
        return say(["Which picture has {}?", "Which image has {}?", "In which picture is there {}?"]).format(article(f"{c} {k}")), "the first" if (k, c) in {t[:2] for t in a} else "the second"
    if task == "which kind":
        sign_first = a is None
        if first.get("chart") or second.get("chart"):
            return ask_pair(rng, first, second, "compare")
        if rng.random() < 0.5:
            return say(["Which picture is a sign?", "Which picture shows a sign?"]), "the first" if sign_first else "the second"
        return say(["Which picture has shapes?", "Which picture shows shapes?"]), "the second" if sign_first else "the first"
    if task == "read":
        which, text = say([("first", ta), ("second", tb)])
        return say(["What does the {} sign say?", "What does the {} picture say?", "Read the {} sign.", "What is written in the {} picture?"]).format(which), text
    return say(["Do both signs say the same?", "Do the signs say the same?", "Do both pictures have the same text?"]), "Yes" if ta == tb else "No"
