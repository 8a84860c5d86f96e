"""Questions with known answers, and the files they are read from."""
