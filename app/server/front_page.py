"""ASGI middleware that completes the page's HTML: its first paint, and what it is called where it is shared.

Gradio's page is empty until its scripts have run, and names Gradio where a link to it is shown.
"""

import gzip
import re
from collections.abc import Mapping
from html import escape

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.language import preferred
from app.ui.components import PREFIX, PREVIEW

SOCIAL = re.compile(r"<meta\s+(?:property=\"og:|name=\"twitter:)[^>]*>\s*")
BODY = re.compile(r"<body[^>]*>")
EARLY = f'<link rel="preload" as="script" href="{PREFIX}/duet.js" />'
"""A script that the page asks for only when it has been put together; the browser can fetch it before."""
PACKED = 4
"""How hard the page is packed: to a sixth in some milliseconds."""
OWN = frozenset(("__theme", "lang", "logs"))
"""Parameters of an address that say nothing of a comparison."""


def social_tags(title: str, description: str, image: str) -> str:
    """The tags by which a link to the page is shown elsewhere; `image` is an absolute address, or empty."""
    named = {"og:type": "website", "og:title": title, "og:description": description, "og:image": image}
    twitter = {"twitter:card": "summary_large_image" if image else "summary", "twitter:title": title}
    twitter |= {"twitter:description": description, "twitter:image": image}
    tags = [f'<meta property="{name}" content="{escape(value)}" />' for name, value in named.items() if value]
    tags += [f'<meta name="{name}" content="{escape(value)}" />' for name, value in twitter.items() if value]
    return "\n".join([*tags, f'<meta name="description" content="{escape(description)}" />'])


class FrontPage:
    """The middleware."""

    def __init__(self, app: ASGIApp, *, title: str, style: str, paints: Mapping[str, tuple[str, str]]) -> None:
        """`style` is the style sheet of the first paint; `paints` is {language: (what the page is in a sentence, what
        stands in its body at first)}."""
        self.app, self.title, self.style, self.paints = app, title, style, paints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or scope["method"] != "GET" or path not in ("", "/"):
            await self.app(scope, receive, send)
            return
        start: list[Message] = []
        body: list[bytes] = []

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                is_page = message["status"] == 200 and headers.get("content-type", "").startswith("text/html")
                if is_page and "content-encoding" not in headers:
                    start.append(message)
                    return
            if not start:
                await send(message)
                return
            body.append(message.get("body", b""))
            if message.get("more_body", False):
                return
            whole = self._completed(b"".join(body).decode("utf-8"), scope).encode("utf-8")
            headers = MutableHeaders(scope=start[0])
            if "gzip" in Headers(scope=scope).get("accept-encoding", ""):
                whole = gzip.compress(whole, PACKED)
                headers["content-encoding"] = "gzip"
            headers.add_vary_header("Accept-Encoding")
            headers["content-length"] = str(len(whole))
            await send(start[0])
            await send({"type": "http.response.body", "body": whole})

        await self.app(scope, receive, completed)

    def _completed(self, page: str, scope: Scope) -> str:
        """The page with the head's tags, and, where no link asks for something else, its first paint."""
        request = Request(scope)
        code = preferred(request.headers.get("accept-language", ""), request.query_params.get("lang", "")).code
        description, paint = self.paints[code]
        tags = "\n".join([social_tags(self.title, description, _picture(request)), EARLY])
        page = SOCIAL.sub("", page).replace("</head>", f"{tags}\n</head>", 1)
        if not paint or set(request.query_params) - OWN:
            return page
        return BODY.sub(lambda tag: f"{tag[0]}<style>{self.style}</style>{paint}", page, count=1)


def _picture(request: Request) -> str:
    """The address of the page's picture; empty if the request names no host that could be part of one."""
    try:
        return f"{request.base_url}{PREVIEW}"
    except ValueError:  # whatever a stranger has put into the header
        return ""
