"""Decoding by a step of fixed size, which can be compiled: the step, its batch, and the compiler for it."""
