"""How the page's events run."""

from typing import Any

SILENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""No spinner over what is on the page, and no place in the API."""
# Without the queue an answer comes with the request itself, one round trip instead of two, and nobody waits for
# another visitor's look. Strips, keys and sliders ask again only when the last answer has come, so that none overtakes
# a newer one; two clicks on charts are further apart than an answer takes.
QUICK: dict[str, Any] = {"queue": False, **SILENT}
"""For what only looks at a recorded trace; each takes milliseconds."""
