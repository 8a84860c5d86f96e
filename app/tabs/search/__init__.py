"""The tab that chooses j*: what a layer search found, and searches of a visitor's own questions."""
