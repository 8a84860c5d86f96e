"""Lock-step decoding: the engine, its batches and caches, beam search."""
