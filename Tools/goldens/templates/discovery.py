"""Which file's chat template transformers uses, for a processor and for a tokenizer.

    python Tools/goldens/templates/discovery.py Tests/Fixtures/models/qwen2_5_vl/checkpoint Tests/Fixtures/templates

Every template says where it lies, so the rendered text tells which one was chosen.
"""

import json
import os
import pathlib
import shutil
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import transformers
from transformers import AutoProcessor, AutoTokenizer

JINJA = {"chat_template.jinja": "jinja"}
LEGACY = {"chat_template.json": {"chat_template": "legacy"}}
PROCESSOR = {"processor_config.json": {"chat_template": "processor"}}
NAMED = {"processor_config.json": {"chat_template": {"default": "processor default", "x": "processor x"}}}
TOKENIZER = {"tokenizer_config.json": {"chat_template": "tokenizer"}}
LIST = {
    "tokenizer_config.json": {
        "chat_template": [
            {"name": "default", "template": "tokenizer default"},
            {"name": "tool_use", "template": "tokenizer tool_use"},
        ]
    }
}
NO_DEFAULT = {"tokenizer_config.json": {"chat_template": [{"name": "rag", "template": "tokenizer rag"}]}}
EXTRA = {"additional_chat_templates/extra.jinja": "extra"}
TOOLS = {"additional_chat_templates/tool_use.jinja": "tool_use"}

LAYOUTS = [
    {}, TOKENIZER, LIST, NO_DEFAULT, JINJA, LEGACY, {**LEGACY, **JINJA}, PROCESSOR, {**PROCESSOR, **JINJA},
    {**PROCESSOR, **LEGACY}, {**JINJA, **TOKENIZER}, {**LEGACY, **TOKENIZER}, {**JINJA, **EXTRA, **TOOLS}, EXTRA,
    {**EXTRA, **TOKENIZER}, {**LEGACY, **EXTRA}, {**JINJA, **LIST}, NAMED, {"chat_template.json": {"chat_template": None}},
    {"chat_template.json": {}}, {**TOOLS, **JINJA, **LIST},
]


def render(loader, folder, **arguments):
    try:
        loaded = loader.from_pretrained(folder)
        if loaded.chat_template is None:
            return {"output": None}
        messages = [{"role": "user", "content": "hi"}]
        return {"output": loaded.apply_chat_template(messages, tokenize=False, **arguments)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:80]}


def main():
    checkpoint, out = map(pathlib.Path, sys.argv[1:3])
    cases = []
    for layout in LAYOUTS:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            for file in checkpoint.iterdir():
                if file.suffix in (".json", ".txt") and not file.name.startswith("chat_template"):
                    shutil.copy(file, folder)
            for file in ("tokenizer_config.json", "processor_config.json"):
                path = folder / file
                config = json.loads(path.read_text()) if path.exists() else {}
                config.pop("chat_template", None)
                if path.exists() or file in layout:
                    path.write_text(json.dumps({**config, **layout.get(file, {})}))
            for file, content in layout.items():
                if file.startswith(("chat_template", "additional")):
                    (folder / file).parent.mkdir(exist_ok=True)
                    (folder / file).write_text(content if isinstance(content, str) else json.dumps(content))
            tools = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}}]
            cases.append(
                {
                    "files": layout,
                    "processor": render(AutoProcessor, folder),
                    "tokenizer": render(AutoTokenizer, folder),
                    "tokenizer_with_tools": render(AutoTokenizer, folder, tools=tools),
                }
            )
    result = {"versions": {"transformers": transformers.__version__}, "cases": cases}
    (out / "discovery.json").write_text(json.dumps(result, indent=1) + "\n")
    print(len(cases), "layouts")


if __name__ == "__main__":
    main()
