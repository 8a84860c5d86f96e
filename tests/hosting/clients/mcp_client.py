"""Call the tools of a page by the Model Context Protocol, which needs its packages, and print the answers as JSON."""

import asyncio
import json
import sys
from typing import Any

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

PROMPT = "The capital of Australia is"
QUESTIONS = [{"prompt": "The capital of Japan is", "answers": ["Tokyo"], "wrong": ["Osaka"]}]


def answer(result: Any) -> dict[str, Any]:
    """A tool's answer as plain data."""
    return {"error": result.isError, "texts": [part.text for part in result.content]}


async def main(url: str) -> None:
    """List the tools, call each of them, and each with a mistake."""
    async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        tools = (await session.list_tools()).tools
        compared = await session.call_tool("compare", {"prompt": PROMPT, "max_new_tokens": 4, "layer": 12})
        trace = json.loads(compared.content[0].text)["trace"]
        what_if = {"trace": trace, "step": 1, "layer": 3, "alpha": 0.5}
        results = {
            "compare": compared,
            "short": await session.call_tool("compare", {"prompt": PROMPT, "max_new_tokens": 1, "with_trace": False}),
            "what_if": await session.call_tool("what_if", what_if),
            "layer_curve": await session.call_tool("layer_curve", {"questions": QUESTIONS}),
            "no prompt": await session.call_tool("compare", {"prompt": ""}),
            "no step": await session.call_tool("what_if", what_if | {"step": 99}),
            "no questions": await session.call_tool("layer_curve", {"questions": []}),
        }
        print(
            json.dumps(
                {
                    "tools": {tool.name: [tool.description, tool.inputSchema] for tool in tools},
                    "answers": {name: answer(result) for name, result in results.items()},
                }
            )
        )


asyncio.run(main(sys.argv[1]))
