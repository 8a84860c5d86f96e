"""What a visitor takes along: links and reports."""
