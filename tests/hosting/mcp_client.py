"""A client of the Model Context Protocol, for an environment that has it: prints what a page's tools say, as JSON."""

import asyncio
import json
import sys
from typing import Any

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

PROMPT = "The capital of Australia is"
QUESTIONS = [{"prompt": "The capital of Japan is", "answers": ["Tokyo"], "wrong": ["Osaka"]}]


def told(result: Any) -> dict[str, Any]:
    """A tool's answer."""
    return {"error": result.isError, "texts": [part.text for part in result.content]}


async def main(url: str) -> None:
    """List the tools, call each of them, and each with a mistake."""
    async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        tools = (await session.list_tools()).tools
        compared = await session.call_tool("compare", {"prompt": PROMPT, "max_new_tokens": 4, "layer": 12})
        trace = json.loads(compared.content[0].text)["trace"]
        asked = {"trace": trace, "step": 1, "layer": 3, "alpha": 0.5}
        answers = {
            "compare": compared,
            "short": await session.call_tool("compare", {"prompt": PROMPT, "max_new_tokens": 1, "with_trace": False}),
            "what_if": await session.call_tool("what_if", asked),
            "layer_curve": await session.call_tool("layer_curve", {"questions": QUESTIONS}),
            "no prompt": await session.call_tool("compare", {"prompt": ""}),
            "no step": await session.call_tool("what_if", asked | {"step": 99}),
            "no questions": await session.call_tool("layer_curve", {"questions": []}),
        }
        print(
            json.dumps(
                {
                    "tools": {tool.name: [tool.description, tool.inputSchema] for tool in tools},
                    "answers": {name: told(answer) for name, answer in answers.items()},
                }
            )
        )


asyncio.run(main(sys.argv[1]))
