"""The command `dola`: complete a prompt twice in the terminal and show where the completions differ."""
