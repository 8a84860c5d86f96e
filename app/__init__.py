"""The page: what a visitor asks for, how it runs, and how a trace is shown."""
