"""Starts one Python function under AWS's own runtime client.

Promises, beyond what ``python -m awslambdaric HANDLER`` does:

- the site's root is importable, whatever the working directory is, and so are the packages in the folder given;
- the process never outlives its parent: it ends when its standard input, a pipe held by the parent, is closed;
- a variable that changed in the parent's environment is changed here before the handler gets its next event: the first
  line of what the parent hands over names these variables;
- the parent knows whether a process that died had taken its event: a byte on descriptor 3 says so beforehand;
- an exception that ends the import of the handler's module, or that the handler lets out, is told with its whole
  traceback (``whole``, on a developer's machine), or by its type and the places it passed and nothing else
  (``places``, deployed): its message and the source lines may hold a password or a person.

Use: ``python start.py whole|places MODULE.FUNCTION SITE_ROOT [PACKAGES]``, ``AWS_LAMBDA_RUNTIME_API`` being set.
"""

import importlib
import json
import os
import re
import sys
import threading
import traceback
from typing import Any

TAKEN = 3
MOST_PLACES = 4
PLACE = re.compile(r'File "([^"\n]*)", line ([0-9]+)(?:, in (\S+))?')


def end_with_the_parent() -> None:
    """Blocks until standard input is closed, then ends the process at once, whatever it is doing."""
    while True:
        try:
            if not os.read(0, 4096):
                os._exit(0)
        except OSError:
            os._exit(0)


def main(how: str, handler: str, site_root: str, *packages: str) -> None:
    # This file's own folder, where it is the first entry, holds nothing that a handler should import.
    own_folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [site_root, *(folder for folder in sys.path if folder != own_folder), *packages]
    threading.Thread(target=end_with_the_parent, name="end-with-the-parent", daemon=True).start()

    os.set_inheritable(TAKEN, False)

    from awslambdaric import bootstrap
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

    # The parent's port takes what begins with a secret. awslambdaric's own client for errors needs it in each path.
    address, _, secret = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")

    class Client(LambdaRuntimeClient):  # type: ignore[misc]
        def wait_next_invocation(self) -> Any:
            event = super().wait_next_invocation()
            changed, _, event.event_body = event.event_body.partition(b"\n")
            change_environment(json.loads(changed))
            os.write(TAKEN, b".")
            return event

        def call_rapid(self, method: str, endpoint: str, *how: Any, **more: Any) -> None:
            super().call_rapid(method, f"/{secret}{endpoint}", *how, **more)

    client = Client(address)
    try:
        importlib.import_module(handler.rpartition(".")[0])
    except Exception as error:
        lines = traceback.format_exception(error) if how == "whole" else []
        message = str(error) if how == "whole" else where_it_broke(error)
        sys.stderr.write("".join(lines) or f"[ERROR] {type(error).__name__}: {message}\n")
        sys.stderr.flush()
        told = {"errorType": type(error).__name__, "errorMessage": message, "stackTrace": lines, "requestId": ""}
        client.post_init_error(told)
        sys.exit(1)
    if how == "whole":
        bootstrap.run(handler, client)
        return
    make_error = bootstrap.make_error
    bootstrap.make_error = lambda message, *told: without_values(make_error(message, *told))
    bootstrap.run(handler, client)


def change_environment(changed: dict[str, str | None]) -> None:
    for name, value in changed.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def where_it_broke(error: BaseException) -> str:
    """The places an exception passed, the last one first, what it came of, and no value."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    places = [f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in reversed(frames)]
    if isinstance(error, SyntaxError):
        places.insert(0, f"{os.path.basename(error.filename or '')}:{error.lineno}")
    missing = f"of {error.name} " if isinstance(error, ModuleNotFoundError) else ""
    cause = error.__cause__ or error.__context__
    came_of = f", came of {type(cause).__name__}" if cause is not None else ""
    return f"{missing}at {' < '.join(places[:MOST_PLACES]) or 'no place'}{came_of}"


def without_values(error: dict[str, Any]) -> dict[str, Any]:
    """What awslambdaric says of an exception that the handler let out: places, neither message nor source lines."""
    found = [place for line in error["stackTrace"] if (place := PLACE.search(line)) is not None]
    places = [f"{os.path.basename(place[1])}:{place[2]} {place[3] or ''}".rstrip() for place in reversed(found)]
    return {**error, "errorMessage": f"at {' < '.join(places[:MOST_PLACES])}" if places else "", "stackTrace": []}


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except SystemExit as leaving:
        if sys.argv[1] == "whole" or not isinstance(leaving.code, str):
            raise
        sys.stderr.write(f"[ERROR] SystemExit: {where_it_broke(leaving)}\n")  # `sys.exit("…")` prints what it is given
        sys.exit(1)
