"""`make bench`: what the functions cost, as ratios of things measured side by side in the same run.

Everything is the real thing on this machine: the zips of `netlify build` unpacked, PostgreSQL over TCP, the simulator
as Daraja. Rounds go through all measured things in turn, so that whatever else the machine does falls on all alike.

    python -m dev.bench                 prints the table; --write also puts it into docs/performance.md
    python -m dev.bench --against REV   the callback as it is here, beside that of an earlier revision
"""
