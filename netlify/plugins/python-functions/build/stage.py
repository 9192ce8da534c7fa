"""Puts together what a deployed function needs besides Node: CPython, the packages, the site's Python code.

Promises:

- packages are exactly those of the requirements file, checked against its hashes, as wheels that run on Amazon Linux
  2023, whatever this machine has;
- a build that would not run there is never made silently: when it is for deploying, it fails with a sentence that says
  what to do; otherwise (no network, another kind of machine) it bundles the interpreter it runs under and says loudly,
  here and in a marker file, that it is not for deploying;
- an interrupted run leaves nothing that a later one would take for complete.

Called by the plugin (index.js) with one JSON argument; leaves what it did in ``staged.json``. Standard library only.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import linked_libraries

NEWEST_GLIBC = 34  # 2.34: Amazon Linux 2023, on which Netlify's functions run
NEWEST_MANYLINUX = 28
MARKER = "NOT-FOR-DEPLOYING.txt"
PACKAGES = "packages"  # not site-packages: Debian's Python looks elsewhere, and without `site` it starts faster

# Of the standard library, what no function uses: tests, the IDE, Tk, installers, what is for building C extensions.
NOT_NEEDED = {
    "__phello__", "dist-packages", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "sitecustomize.py",
    "EXTERNALLY-MANAGED", "test", "tests", "tkinter", "turtle.py", "turtledemo", "venv", "__pycache__",
}  # fmt: skip
NOT_NEEDED_PATTERNS = re.compile(r"(config-\d.*|.*\.(a|o|h|pyi|exe)|(_tkinter|_test|_ctypes_test|xx).*\.so)$")
# Of the packages, besides their tests: type stubs and sources of C extensions.
NOT_NEEDED_IN_PACKAGES = re.compile(r".*\.(pyi|h|hpp|c|cc|cpp|pyx|pxd|a|o)$")
TOOLS = {"pip", "setuptools", "wheel", "pkg_resources", "_distutils_hack"}


class CannotBuild(Exception):
    """The build cannot go on; the message says why and what to do."""


class NotDeployable(Exception):
    """What was found here would not run on Netlify; the message says why."""


@dataclass(frozen=True)
class Interpreter:
    """An installed CPython, as it described itself."""

    executable: Path
    base_executable: Path
    stdlib: Path
    library: str
    library_folders: tuple[Path, ...]
    version: str  # "3.13"
    full_version: str

    @property
    def name(self) -> str:
        return f"CPython {self.full_version}"


DESCRIBE = """
import json, os, sys, sysconfig
print(json.dumps({
    "executable": sys.executable, "base_executable": os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
    "stdlib": sysconfig.get_path("stdlib"),
    "library": sysconfig.get_config_var("INSTSONAME") or "",
    "library_folders": [sys.base_prefix + "/lib", sysconfig.get_config_var("LIBDIR") or "/usr/lib"],
    "version": "%d.%d" % sys.version_info[:2], "full_version": sys.version.split()[0],
    "implementation": sys.implementation.name,
}))
"""


def describe(executable: Path) -> Interpreter:
    """What the interpreter at `executable` says of itself. Raises `NotDeployable` where it is no working CPython."""
    answer = run([executable, "-I", "-c", DESCRIBE])
    try:
        said: dict[str, Any] = json.loads(answer.stdout)
    except ValueError:
        raise NotDeployable(f"{executable} does not run as a Python interpreter") from None
    if said["implementation"] != "cpython":
        raise NotDeployable(f"{executable} is not CPython")
    return Interpreter(
        executable=Path(said["executable"]),
        base_executable=Path(said["base_executable"]),
        stdlib=Path(said["stdlib"]),
        library=said["library"],
        library_folders=tuple(Path(folder) for folder in said["library_folders"]),
        version=said["version"],
        full_version=said["full_version"],
    )


# ---- Which CPython ---------------------------------------------------------------------------------------------------


def relocatable(order: dict[str, Any], wanted: str) -> Interpreter:
    """A CPython that runs from any folder of any Linux with an old enough glibc: python-build-standalone."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise NotDeployable(f"this machine ({sys.platform}, {platform.machine()}) is no Linux x86_64, as Netlify's are")
    found = describe(executable_in(Path(order["runtime"])) if order["runtime"] else through_uv(order, wanted))
    if found.version != wanted:
        raise NotDeployable(f"{found.executable} is {found.name}, not {wanted}")
    return found


def executable_in(tree: Path) -> Path:
    executables = [tree / "bin/python3", tree / "python/bin/python3"]
    for executable in executables:
        if executable.exists():
            return executable
    raise NotDeployable(f"there is no bin/python3 in {tree}")


def through_uv(order: dict[str, Any], wanted: str) -> Path:
    """Python's path, found or installed by uv, which knows the checksums of python-build-standalone's releases."""
    uv = find_uv(order)
    # A developer without network should not wait.
    patience = {} if order["for_deploying"] else {"UV_HTTP_RETRIES": "0"}
    find = [*uv, "python", "find", "--no-project", "--system", "--managed-python", wanted]
    found = run(find)
    if found.returncode != 0:
        say(f"installing a relocatable CPython {wanted} with uv")
        install = run([*uv, "python", "install", "--no-bin", wanted], environment=patience | os.environ)
        if install.returncode != 0:
            raise NotDeployable(f"`uv python install {wanted}` failed ({last_line(install.stderr)})")
        found = run(find)
    if found.returncode != 0:
        raise NotDeployable(f"uv does not find the CPython {wanted} that it installed ({last_line(found.stderr)})")
    return Path(found.stdout.strip())


def find_uv(order: dict[str, Any]) -> list[str]:
    on_path = shutil.which("uv")
    if on_path:
        return [on_path]
    if run([sys.executable, "-m", "uv", "--version"]).returncode == 0:
        return [sys.executable, "-m", "uv"]
    pinned = Path(__file__).with_name("uv-requirements.txt")
    tools = Path(order["state"]) / f"uv-{digest(pinned.read_bytes())}"
    if not (tools / "bin/uv").exists():
        say("installing uv")
        options = ["--quiet", "--require-hashes", "--only-binary=:all:", "--target", str(tools), "-r", str(pinned)]
        pip = run([*pip_of(sys.executable), "install", *options])
        if pip.returncode != 0:
            raise NotDeployable(f"uv could not be installed ({last_line(pip.stderr)})")
    return [str(tools / "bin/uv")]


# ---- The Python tree -------------------------------------------------------------------------------------------------


def python_tree(order: dict[str, Any], interpreter: Interpreter, deployable: bool) -> Path:
    """The folder with CPython and packages, made at most once for the same interpreter and requirements."""
    state, requirements = Path(order["state"]), Path(order["requirements"])
    recipe = "".join(file.read_text() for file in sorted(Path(__file__).parent.glob("*.py")))
    stat = interpreter.base_executable.stat()
    identity = f"{interpreter.base_executable} {interpreter.full_version} {stat.st_mtime_ns} {deployable}"
    name = f"python-{digest(requirements.read_bytes(), recipe.encode(), identity.encode())}"
    tree = state / name
    if not tree.exists():
        partial = state / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        say(f"bundling {interpreter.name}")
        copy_interpreter(interpreter, partial)
        say(f"installing the packages of {requirements.name}")
        install_packages(order, interpreter, partial, deployable)
        check_libraries(partial, deployable)
        say("compiling")
        compile_tree(partial, partial, interpreter.version)
        smoke_test(partial, interpreter.version)
        partial.rename(tree)
    for other in state.glob("python-*"):
        if other != tree:
            shutil.rmtree(other, ignore_errors=True)
    return tree


def copy_interpreter(interpreter: Interpreter, tree: Path) -> None:
    """CPython without what no function uses, in the layout that it finds itself in, wherever it lies."""
    binary = tree / "bin" / f"python{interpreter.version}"
    binary.parent.mkdir(parents=True)
    shutil.copy2(interpreter.base_executable, binary)

    def unneeded(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if name in NOT_NEEDED or NOT_NEEDED_PATTERNS.match(name)}

    stdlib = tree / "lib" / f"python{interpreter.version}"
    shutil.copytree(interpreter.stdlib, stdlib, ignore=unneeded, ignore_dangling_symlinks=True)
    if interpreter.library in linked_libraries.needed(binary):
        for folder in interpreter.library_folders:
            if (folder / interpreter.library).exists():
                shutil.copy2(folder / interpreter.library, tree / "lib" / interpreter.library)
                break
    for file in files_below(tree):
        if linked_libraries.is_elf(file):
            linked_libraries.strip(file)


def install_packages(order: dict[str, Any], interpreter: Interpreter, tree: Path, deployable: bool) -> None:
    target = tree / PACKAGES
    options = [
        "install", "--quiet", "--no-compile", "--no-input", "--disable-pip-version-check", "--root-user-action=ignore",
        "--require-hashes", "--only-binary=:all:", "--target", str(target), "-r", order["requirements"],
    ]  # fmt: skip
    if sys.platform == "linux" and platform.machine() == "x86_64":
        for glibc in range(NEWEST_MANYLINUX, 4, -1):
            options += ["--platform", f"manylinux_2_{glibc}_x86_64"]
        options += ["--platform", "manylinux2014_x86_64"]
        options += ["--python-version", interpreter.version, "--implementation", "cp"]
    if not order["for_deploying"]:
        options += ["--retries", "1"]
    pip = run([*pip_of(str(interpreter.executable)), *options])
    if pip.returncode != 0:
        why = last_line(pip.stderr)
        if deployable:
            raise NotDeployable(f"the packages of {order['requirements']} could not be installed ({why})")
        say(f"the packages could not be downloaded ({why}): taking those installed here")
        shutil.rmtree(target)
        copy_installed_packages(Path(order["requirements"]), target)
    prune_packages(target)


def copy_installed_packages(requirements: Path, target: Path) -> None:
    """The required packages, from where this interpreter has them."""
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", requirements.read_text(), re.MULTILINE):
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise CannotBuild(f"{name} {version} is neither installed nor downloadable: build again online.") from None
        if distribution.version != version:
            raise CannotBuild(f"{name} {version} is not installed and not downloadable: build again online.")
        for file in distribution.files or []:
            source = Path(str(distribution.locate_file(file)))
            if ".." in file.parts or not source.is_file():
                continue
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / file)


def prune_packages(packages: Path) -> None:
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for tool in TOOLS:
        shutil.rmtree(packages / tool, ignore_errors=True)
        for about in packages.glob(f"{tool}-*.dist-info"):
            shutil.rmtree(about)
    for folder, names, files in os.walk(packages):
        for name in [name for name in names if name in ("__pycache__", "test", "tests")]:
            shutil.rmtree(Path(folder, name))
            names.remove(name)
        for name in files:
            if NOT_NEEDED_IN_PACKAGES.match(name):
                Path(folder, name).unlink()


def check_libraries(tree: Path, deployable: bool) -> None:
    """That everything in the tree loads on Amazon Linux 2023: no newer glibc, no library that is not there."""
    binaries = [file for file in files_below(tree) if linked_libraries.is_elf(file)]
    present = linked_libraries.ON_AMAZON_LINUX | {file.name for file in binaries}
    problems = []
    for file in binaries:
        missing = linked_libraries.needed(file) - present
        glibc = linked_libraries.newest_glibc(file)
        if "lib-dynload" in file.parts and missing and deployable:
            file.unlink()  # an optional module of the standard library, like _crypt: an import will say so
        elif missing:
            problems.append(f"{file.relative_to(tree)} needs {', '.join(sorted(missing))}")
        elif glibc > NEWEST_GLIBC:
            problems.append(f"{file.relative_to(tree)} needs glibc 2.{glibc}")
    if problems and deployable:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise NotDeployable(f"it would not run on Amazon Linux 2023: {problems[0]}{more}")


def compile_tree(tree: Path, folder: Path, version: str) -> None:
    """Compiles all modules once. Unchecked: the deployed file system is read-only, and its times mean nothing."""
    options = ["-qq", "-j", "2", "--invalidation-mode", "unchecked-hash", "-s", str(folder)]
    # A file that is no valid Python (a template, a module for another version) stays uncompiled: smoke_test decides.
    run([tree / "bin" / f"python{version}", "-I", "-m", "compileall", *options, str(folder)], environment=bare(tree))


def smoke_test(tree: Path, version: str) -> None:
    program = f"import sys; sys.path.append({str(tree / PACKAGES)!r}); import ssl, ctypes, awslambdaric.bootstrap"
    tried = run([tree / "bin" / f"python{version}", "-I", "-S", "-c", program], environment=bare(tree))
    if tried.returncode != 0:
        why = last_line(tried.stderr)
        raise CannotBuild(f"The bundled Python does not run: {why}. Do the requirements name awslambdaric?")


def bare(tree: Path) -> dict[str, str]:
    return {"LD_LIBRARY_PATH": str(tree / "lib")}


# ---- The site tree ---------------------------------------------------------------------------------------------------


def site_tree(order: dict[str, Any], tree: Path, version: str, not_for_deploying: str | None) -> Path:
    """The site's own Python code and files, compiled."""
    root, site = Path(order["root"]), Path(order["state"]) / "site"
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    patterns = [f"{order['functions_folder']}/**/*.py", *order["include"]]
    for pattern in patterns:
        found = False
        for file in matching(root, pattern):
            found = True
            destination = site / file.relative_to(root)
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, destination)
        if not found:
            raise CannotBuild(f"No file matches {pattern!r}: correct `include` of the plugin in netlify.toml.")
    if not_for_deploying:
        (site / MARKER).write_text(f"{not_for_deploying}\n")
    compile_tree(tree, site, version)
    return site


def matching(root: Path, pattern: str) -> Iterator[Path]:
    if pattern.endswith("/**"):
        pattern += "/*"
    for file in sorted(root.glob(pattern)):
        if file.is_file() and "__pycache__" not in file.parts:
            yield file


# ---- Everything, in order --------------------------------------------------------------------------------------------


def stage(order: dict[str, Any]) -> None:
    requirements, state = Path(order["requirements"]), Path(order["state"])
    if not requirements.exists():
        raise CannotBuild(f"{requirements.name} is missing: it names the packages of the functions, with hashes.")
    if not order["functions"]:
        raise CannotBuild(f"There is no function in {order['functions_folder']}.")
    wanted = order["python_version"] or f"{sys.version_info.major}.{sys.version_info.minor}"

    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two builds of one folder wait for each other
        not_for_deploying = None
        try:
            interpreter = relocatable(order, wanted)
            tree = python_tree(order, interpreter, deployable=True)
        except NotDeployable as why:
            if order["for_deploying"]:
                raise CannotBuild(
                    f"No build for deploying: {why}. A deploy needs a relocatable CPython {wanted} for Linux x86_64 and"
                    f" the wheels of {requirements.name}. Build again when the network answers, or set"
                    " PYTHON_FUNCTIONS_RUNTIME to an unpacked python-build-standalone."
                ) from why
            interpreter = describe(Path(sys.executable))
            not_for_deploying = (
                f"{why}; so this machine's own {interpreter.name} is bundled, which may not run elsewhere."
            )
            shout(f"NOT FOR DEPLOYING: {not_for_deploying}")
            tree = python_tree(order, interpreter, deployable=False)
        site = site_tree(order, tree, interpreter.version, not_for_deploying)
        root = Path(order["root"])
        staged = {
            "functions": order["functions"],
            "python_tree": str(tree.relative_to(root)),
            "python": str((tree / "bin" / f"python{interpreter.version}").relative_to(root)),
            "packages": str((tree / PACKAGES).relative_to(root)),
            "site_tree": str(site.relative_to(root)),
            "not_for_deploying": not_for_deploying,
        }
        new = state / "staged.json.new"
        new.write_text(json.dumps(staged, indent=2) + "\n")
        new.rename(state / "staged.json")


def pip_of(executable: str) -> list[str]:
    """pip under that interpreter: it judges environment markers by the interpreter it runs under."""
    for candidate in (executable, sys.executable):
        if run([candidate, "-m", "pip", "--version"]).returncode == 0:
            return [candidate, "-m", "pip"]
    raise CannotBuild(f"{sys.executable} has no pip: install it with `{sys.executable} -m ensurepip`.")


def run(command: Sequence[str | Path], environment: Mapping[str, str] = os.environ) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, whatever its exit code; one that cannot be started has 127."""
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def files_below(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "it did not say why"


def say(text: str) -> None:
    sys.stdout.write(f"python-functions: {text}\n")
    sys.stdout.flush()


def shout(text: str) -> None:
    line = "!" * 100
    say(f"\n\n{line}\n{text}\n{line}\n")


if __name__ == "__main__":
    try:
        stage(json.loads(sys.argv[1]))
    except CannotBuild as sentence:
        sys.exit(f"\npython-functions: {sentence}\n")
