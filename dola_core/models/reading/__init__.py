"""How the layers of a model are read: its parts, its passes, and the proof that they are its own."""
