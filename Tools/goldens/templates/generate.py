"""Writes the golden files of the template engine: what transformers' own environment renders.

    python Tools/goldens/templates/generate.py Tests/Fixtures/templates

transformers 5.17.0 and jinja2 3.1.6. Every case is {context, template, output} or {context, template, error}, where the
error is jinja2's class of exception and its message.
"""

import json
import pathlib
import re
import sys

import jinja2
import transformers
from jinja2.exceptions import TemplateError, TemplateSyntaxError, UndefinedError
from transformers.utils.chat_template_utils import _compile_jinja_template, render_jinja_template

import chats
import snippets

ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


def kind(error):
    if isinstance(error, TemplateSyntaxError):
        return "syntax"
    if isinstance(error, UndefinedError):
        return "undefined"
    if type(error) is TemplateError:
        return "raised"
    return "syntax" if isinstance(error, SyntaxError) else "runtime"


def attempt(render):
    try:
        output = render()
    except Exception as error:
        return {"error": kind(error), "message": str(error)}
    if ADDRESS.search(output):
        raise SystemExit(f"an address in the output: {output}")
    return {"output": output}


def snippet_cases():
    seen = set()
    for context, template in snippets.SNIPPETS:
        if (context, template) in seen:
            continue
        seen.add((context, template))
        result = attempt(lambda: _compile_jinja_template(template).render(**snippets.CONTEXTS[context]))
        yield {"context": context, "template": template, **result}


def chat_cases():
    for name, template in chats.templates():
        for conversation, arguments in chats.CONVERSATIONS.items():
            arguments = {**chats.SPECIAL_TOKENS, **arguments}
            messages = arguments.pop("messages")
            result = attempt(
                lambda: render_jinja_template([messages], chat_template=template, **arguments)[0][0]
            )
            yield {"template": name, "conversation": conversation, **result}


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=True, indent=1) + "\n")


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    versions = {"transformers": transformers.__version__, "jinja2": jinja2.__version__}
    cases = list(snippet_cases())
    write(out / "snippets.json", {"versions": versions, "contexts": snippets.CONTEXTS, "cases": cases})
    rendered = list(chat_cases())
    write(
        out / "chats.json",
        {
            "versions": versions,
            "special_tokens": chats.SPECIAL_TOKENS,
            "conversations": chats.CONVERSATIONS,
            "templates": dict(chats.templates()),
            "cases": rendered,
        },
    )
    print(len(cases), "snippets,", sum("error" in c for c in cases), "of them errors;", len(rendered), "chats,",
          sum("error" in c for c in rendered), "of them errors")


if __name__ == "__main__":
    main()
