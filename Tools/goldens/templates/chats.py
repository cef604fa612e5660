"""Conversations, and chat templates written for this test that use the features of the published ones.

Each template in chats/ exercises what a family of published templates does: ChatML with tools, with thinking, with
counted pictures, headers with tools and dates, full-width marks with reasoning, alternating turns, instruction brackets with
tool ids, parts only, generation blocks, recursive macros over JSON schemas.
"""

import pathlib

SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather at a place.\nTemperatures in °C.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Name, e.g. \"Köln\" <or> 'Rome'"},
                    "days": {"type": "integer", "enum": [1, 3, 7]},
                    "points": {"type": "array", "items": {"type": "object", "properties": {"lat": {"type": "number"}, "lon": {"type": ["number", "null"]}}, "required": ["lat"]}},
                },
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}, "return": {"type": "string"}}},
]


def call(name, arguments, identifier="abc123def"):
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


SYSTEM = {"role": "system", "content": "  Be brief & kind.\n"}
IMAGE = {"type": "image"}
URL = {"type": "image", "url": "a.png"}


def text(value):
    return {"type": "text", "text": value}


CONVERSATIONS = {
    "one turn": {"messages": [user("Hello, 世界! 👋")], "add_generation_prompt": True},
    "one turn, no prompt": {"messages": [user("Hello")]},
    "system": {"messages": [SYSTEM, user(" Hi \n")], "add_generation_prompt": True},
    "many turns": {"messages": [SYSTEM, user("1"), assistant("one\n\n"), user("2"), assistant("  two"), user("3 < 4 && \"x\"")], "add_generation_prompt": True},
    "answered": {"messages": [user("Q"), assistant("A")]},
    "parts": {"messages": [user([text("What"), text(" is it?")])], "add_generation_prompt": True},
    "image first": {"messages": [user([IMAGE, text("What is this?")])], "add_generation_prompt": True},
    "image between": {"messages": [user([text("Compare "), URL, text(" and "), IMAGE, text("!")])], "add_generation_prompt": True, "add_vision_id": True},
    "image turns": {"messages": [user([IMAGE, text("One?")]), assistant([text("Yes.")]), user([text("And this? "), IMAGE])], "add_generation_prompt": True},
    "system parts": {"messages": [{"role": "system", "content": [text("Look well.")]}, user([IMAGE]), assistant([text("ok")])]},
    "image and system": {"messages": [SYSTEM, user([IMAGE, text("?")])], "add_generation_prompt": True},
    "video": {"messages": [user([{"type": "video", "video": "v.mp4"}, text("Describe.")])], "add_generation_prompt": True},
    "tools": {"messages": [user("Weather in Köln?")], "tools": TOOLS, "add_generation_prompt": True},
    "tools and system": {"messages": [SYSTEM, user("Weather?")], "tools": TOOLS[:1], "add_generation_prompt": True},
    "tool call": {
        "messages": [user("Weather?"), assistant("", tool_calls=[call("get_weather", {"city": "Köln", "days": 3})]), {"role": "tool", "name": "get_weather", "tool_call_id": "abc123def", "content": "{\"t\": 21.5}"}],
        "tools": TOOLS, "add_generation_prompt": True,
    },
    "tool call answered": {
        "messages": [user("Weather?"), assistant("Let me see.", tool_calls=[call("now", {})]), {"role": "tool", "tool_call_id": "abc123def", "content": "noon"}, assistant("It is noon."), user("Thanks")],
        "tools": TOOLS, "add_generation_prompt": True,
    },
    "two calls": {
        "messages": [user("Both"), assistant(None, tool_calls=[call("now", {"tz": None, "x": [1, 2.5, True]}), call("get_weather", {"city": "a\"b"}, "short")]), {"role": "tool", "tool_call_id": "abc123def", "content": "1"}, {"role": "tool", "tool_call_id": "short", "content": "2"}],
        "add_generation_prompt": True,
    },
    "thinking": {"messages": [user("1+1?"), assistant("<think>\nadd\n</think>\n\n2"), user("2+2?")], "add_generation_prompt": True},
    "thinking last": {"messages": [user("1+1?"), assistant("2", reasoning_content="\nadd\n")]},
    "no thinking": {"messages": [user("1+1?")], "add_generation_prompt": True, "enable_thinking": False},
    "date": {"messages": [user("When?")], "date_string": "01 Jan 2025", "tools_in_user_message": False, "tools": TOOLS, "add_generation_prompt": True},
    "wrong order": {"messages": [user("a"), user("b")], "add_generation_prompt": True},
    "empty content": {"messages": [user("")], "add_generation_prompt": True},
    "long": {"messages": [m for i in range(12) for m in (user(f"question {i}\n" * 3), assistant(f"answer {i} é\u0301"))] + [user("end")], "add_generation_prompt": True},
}


def templates():
    folder = pathlib.Path(__file__).parent / "chats"
    return [(path.stem, path.read_text()) for path in sorted(folder.glob("*.jinja"))]
