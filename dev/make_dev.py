"""`make dev`: the local stack, left running until Ctrl-C, and what it shows of what its parts print."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.ports import SIMULATOR_PORT, SITE_PORT, PortTaken, usual_ports
from dev.stack import GENEROUS_LIMITS, STATE, FolderBusy, LocalStack, StackFault, locked, shown
from ops.limits import LOW
from shared.environment_variables import TABLE


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.make_dev", description="The local stack, left running.")
    parser.epilog = (
        f"Environment: PORT ({SITE_PORT}), SIM_PORT ({SIMULATOR_PORT}), LIMITS=on for a deployed shop's limits."
    )
    parser.parse_args()
    stop_on_signals()
    terminal = Terminal(colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    parent = os.getppid()
    try:
        port, simulator_port = usual_ports()
        state = own_folder(port)
        if state != STATE:
            print(f"Another stack is running here: this one keeps its data in {shown(state)}.")
        print("Starting PostgreSQL, the simulator and the Netlify CLI …", flush=True)
        limits = limits_from_environment()
        stack = LocalStack(state, port=port, simulator_port=simulator_port, settings=limits, listener=terminal)
        try:
            stack.start()
            introduce(stack, terminal)
            terminal.quiet = False
            while True:
                time.sleep(0.5)
                stack.check()
                if "MAKELEVEL" in os.environ and os.getppid() != parent:
                    raise Stopped("make is gone")
        finally:
            terminal.quiet = True
            stack.stop()
    except Stopped:
        print("\nStopped. The database keeps its data; the simulator forgets its payments and mail.", flush=True)
        return 0
    except (PortTaken, StackFault) as fault:
        print(f"\n{fault}", file=sys.stderr)
        return 1


class Stopped(Exception):
    """Ctrl-C, SIGTERM, a closed terminal."""


def stop_on_signals() -> None:
    """The first of these signals raises Stopped; those that come after it are ignored."""
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

    def stopped(number: int, _frame: object) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(signal.Signals(number).name)

    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, stopped)


def limits_from_environment() -> Mapping[str, str]:
    """`LIMITS=on`: as a shop has them on its first day. Otherwise they are out of the developer's way."""
    wanted = os.environ.get("LIMITS", "") or "off"
    if wanted not in ("on", "off"):
        raise StackFault(f"LIMITS must be on or off, not {wanted!r}.")
    if wanted == "off":
        return {}
    return {**dict.fromkeys(GENEROUS_LIMITS, ""), **{name: str(kes) for name, kes in LOW.items()}}


def introduce(stack: LocalStack, terminal: Terminal) -> None:
    # the page looks for the virtual phone on the usual port, unless its address says otherwise once
    simulator = "" if stack.simulator_port == SIMULATOR_PORT else f"?sim={stack.simulator_port}"
    lines = [
        ("shop", f"{stack.site_url}/{simulator}", "pay here, with any number like 0700 000 001"),
        ("virtual phone", f"{stack.simulator_url}/phone", "the prompt appears here; any PIN but 0000 pays"),
        ("mailbox", f"{stack.simulator_url}/mail", "the invoices arrive here"),
        ("statement", f"{stack.simulator_url}/statement", "M-Pesa's, of the paybill; for python -m ops reconcile"),
    ]
    print("\nLipa runs on this machine; no money moves.\n")
    for name, address, purpose in lines:
        print(f"  {name:<15} {terminal.bold(f'{address:<32}')} {terminal.dim(purpose)}")
    print(f"\n  database        {stack.database_url}")
    print(f"  logs            {shown(stack.logs)}")
    print(f"  operator        {for_the_operator(stack)}")
    print("                  .venv/bin/python -m ops doctor")
    print("\nCtrl-C ends it. Python files are taken up as they are saved.\n", flush=True)


def for_the_operator(stack: LocalStack) -> str:
    """What a shell needs before `python -m ops` can work on this stack: all its settings, from a file."""
    settings = {**stack.environment(), "MPESA_CALLBACK_URL": f"{stack.site_url}/api/pay/callback"}
    file = stack.state / "operator.env"
    lines = [f"export {name}={shlex.quote(settings[name])}\n" for name in TABLE if settings.get(name)]
    file.write_text("".join(lines), encoding="utf-8")
    return f". {shlex.quote(shown(file))}"


def own_folder(port: int) -> Path:
    """Where this stack keeps its state: `.lipa`, or a folder of its own beside a stack that runs on another port."""
    try:
        locked(STATE, {}).close()
    except FolderBusy as busy:
        return STATE if busy.about.get("port") == port else STATE / f"dev-{port}"
    except OSError:
        pass  # there is none, or it is not ours to write
    return STATE


@dataclass
class Terminal:
    """Shows the functions' lines, and of the other parts whatever is not routine."""

    colour: bool
    quiet: bool = True
    """While everything starts, its chatter is only in the logs."""

    def __call__(self, part: str, line: str) -> None:
        if not self.quiet and (text := readable(part, line)) is not None:
            mark = self.dim(f"{part} │") if self.colour else f"{part} |"
            print(f"{mark} {text}", flush=True)

    def dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self.colour else text

    def bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self.colour else text


ROUTINE = re.compile(
    r"^(Request from |Response with status |\(node:|\(Use `node|⬥ (Reload|Loaded|Rewr))|^\s*[╭│╰]|^\s*$"
)
FUNCTION_LINE = re.compile(r"^◈ (?P<function>[\w-]+)  (?P<text>.*)$")
LOG_FRAME = {"level", "message", "timestamp", "service", "location", "function", "xray_trace_id", "cold_start"}


def readable(part: str, line: str) -> str | None:
    """The line for the terminal; None where it is routine. Log lines in JSON become one line of name=value."""
    if ROUTINE.search(line):
        return None
    match = FUNCTION_LINE.match(line)
    if match is None:
        return line
    function, text = match["function"], match["text"]
    try:
        fields = json.loads(text)
    except ValueError:
        return f"{function}  {text}"
    if not isinstance(fields, dict):
        return f"{function}  {text}"
    if function == "sweep" and fields.get("level") == "INFO" and fields.get("message") == "answered":
        return None  # every few seconds
    message = str(fields.get("message", ""))
    rest = " ".join(f"{name}={value}" for name, value in fields.items() if name not in LOG_FRAME and value is not None)
    level = str(fields.get("level", ""))
    return f"{function}  {level + ' ' if level not in ('', 'INFO') else ''}{message} {rest}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
