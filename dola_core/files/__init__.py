"""Files: read text in any encoding, write whole or not at all, and where the project's own lie."""
