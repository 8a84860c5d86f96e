"""What keeps the page from being served at all."""


class StartError(Exception):
    """The page cannot be served as it was asked for; the message is one sentence that says what to do."""
