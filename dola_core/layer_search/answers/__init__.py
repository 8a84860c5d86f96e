"""Given answers as token ids, and their scores on the plausible head."""
