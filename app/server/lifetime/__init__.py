"""From the first line of the program to its last: where it can be served, its temporary files, and how it ends."""
