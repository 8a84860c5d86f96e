"""One comparison for each prompt of a file, and what came of them as a table."""
