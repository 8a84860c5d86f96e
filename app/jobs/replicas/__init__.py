"""Models in other processes, on any machine, which Ray Serve runs: what runs there, and how the page reaches it."""
