"""The tab that completes many prompts: a table of what came of each."""
