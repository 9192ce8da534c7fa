"""What `make dev` shows of what its parts print: the functions' lines, and whatever is not routine."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass


@dataclass
class Terminal:
    """Shows what a developer wants to see go by: the functions' lines, and whatever is not routine of the parts."""

    colour: bool
    quiet: bool = True
    """While everything starts, its chatter is only in the logs."""

    def __call__(self, part: str, line: str) -> None:
        if not self.quiet and (told := readable(part, line)) is not None:
            mark = self.dim(f"{part} │") if self.colour else f"{part} |"
            print(f"{mark} {told}", flush=True)

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
