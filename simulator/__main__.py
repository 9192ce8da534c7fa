"""`python -m simulator --port 8890`: serve until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from pydantic import ValidationError

from simulator.server import HOST, served
from simulator.settings import Behaviour, SimulatorSettings


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    try:
        settings = SimulatorSettings(
            seed=options.seed,
            behaviour=Behaviour(
                push_latency_s=options.push_latency,
                no_answer_after_s=options.no_answer_after,
                query_limit_per_minute=options.query_limit,
                hostility=options.hostility,
            ),
        )
    except ValidationError as error:
        for one in error.errors():
            print(f"simulator: {one['loc'][-1]}: {one['msg']}", file=sys.stderr)
        return 2
    try:
        asyncio.run(_serve(settings, options.port))
    except OSError as error:
        print(
            f"simulator: cannot listen on {HOST}:{options.port} ({error.strerror}). Is it running already? "
            "Choose another with --port.",
            file=sys.stderr,
        )
        return 1
    return 0


async def _serve(settings: SimulatorSettings, port: int) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with served(settings, port) as world:
        address = f"http://{HOST}:{world.port}"
        print(f"Daraja on a laptop   {address}/", flush=True)
        print(f"  virtual phones     {address}/phone", flush=True)
        print(f"  mailbox            {address}/mail   (SMTP on port {world.smtp_ports[0]})", flush=True)
        await stop.wait()


def _options(arguments: list[str] | None) -> argparse.Namespace:
    usual = Behaviour()
    parser = argparse.ArgumentParser(prog="python -m simulator", description="Daraja on a laptop.")
    parser.add_argument("--port", type=int, default=8890, help="HTTP port on 127.0.0.1; 0 takes a free one (8890)")
    parser.add_argument("--seed", type=int, help="same seed, same ids and choices")
    parser.add_argument("--push-latency", type=float, default=usual.push_latency_s, help="seconds (%(default)s)")
    parser.add_argument(
        "--no-answer-after", type=float, default=usual.no_answer_after_s, help="seconds until 1037 (%(default)s)"
    )
    parser.add_argument(
        "--query-limit",
        type=int,
        default=usual.query_limit_per_minute,
        help="STK queries a minute, burst 1; 0: no limit (%(default)s)",
    )
    parser.add_argument(
        "--hostility",
        type=float,
        default=usual.hostility,
        help="share of payments, 0 to 1, that customers decide by themselves and that meet a fault (%(default)s)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
