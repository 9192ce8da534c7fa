"""Starts one Python function under AWS's own runtime client.

Promises, beyond what ``python -m awslambdaric HANDLER`` does:

- the site's root is importable, whatever the working directory is, and so are the packages in the folder given;
- the process never outlives its parent: it ends when its standard input, a pipe held by the parent, is closed;
- the parent knows whether a process that died had taken its event: a byte on descriptor 3 says so beforehand;
- an exception while the handler's module is imported is printed and reported with its whole traceback.

Use: ``python start.py MODULE.FUNCTION SITE_ROOT [PACKAGES]`` with ``AWS_LAMBDA_RUNTIME_API`` in the environment.
"""

import importlib
import os
import sys
import threading
from typing import Any

TAKEN = 3


def end_with_the_parent() -> None:
    """Blocks until standard input is closed, then ends the process at once, whatever it is doing."""
    while True:
        try:
            if not os.read(0, 4096):
                os._exit(0)
        except OSError:
            os._exit(0)


def main(handler: str, site_root: str, *packages: str) -> None:
    # This file's own folder, where it is the first entry, holds nothing that a handler should import.
    own_folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [site_root, *(folder for folder in sys.path if folder != own_folder), *packages]
    threading.Thread(target=end_with_the_parent, name="end-with-the-parent", daemon=True).start()

    os.set_inheritable(TAKEN, False)

    from awslambdaric import bootstrap
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

    class Client(LambdaRuntimeClient):  # type: ignore[misc]
        def wait_next_invocation(self) -> Any:
            event = super().wait_next_invocation()
            os.write(TAKEN, b".")
            return event

    client = Client(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        importlib.import_module(handler.rpartition(".")[0])
    except Exception as error:
        import traceback

        lines = traceback.format_exception(error)
        sys.stderr.write("".join(lines))
        sys.stderr.flush()
        client.post_init_error(
            {"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": lines, "requestId": ""}
        )
        sys.exit(1)
    bootstrap.run(handler, client)


if __name__ == "__main__":
    main(*sys.argv[1:])
