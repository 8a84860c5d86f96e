"""How the page's events run."""

from typing import Any

SILENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""No spinner over what is on the page, and no place in the API."""
# One at a time and in order, so that an older answer never overtakes a newer one; each takes milliseconds.
QUICK: dict[str, Any] = {"concurrency_id": "look", "concurrency_limit": 1, **SILENT}
"""For what only looks at a recorded trace."""
