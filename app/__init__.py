"""The page: layout, charts, token strips. Knows `dola_core`, never torch's internals."""
