"""Puts together what a deployed function needs besides Node: CPython, the packages, the site's Python code.

Promises:

- packages are exactly those of the requirements file, checked against its hashes, as wheels that run on Amazon Linux
  2023, whatever this machine has;
- a build for deploying that would not run there fails and says what to do. Any other build (no network, another kind of
  machine) may bundle its own interpreter; it says so, here and in a marker file;
- an interrupted run leaves nothing that a later one would take for complete.

The plugin (index.js) calls it with one JSON argument and reads the result from ``staged.json``. Standard library only.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import linked_libraries
from interpreters import (
    CannotBuild,
    Interpreter,
    NotDeployable,
    describe,
    digest,
    last_line,
    pip_of,
    relocatable,
    run,
    say,
)

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
NO_NETWORK = re.compile(r"Retrying \(Retry|ConnectionError|ConnectTimeout|ReadTimeout|Could not fetch URL")
WITH_HASHES = "Write it with `pip-compile --generate-hashes` or `uv pip compile --generate-hashes`."
# Of the site's files, what is a tool's or an editor's.
NOT_THE_SITES = re.compile(r".*~|#.*#|.*\.(sw[a-z]|tmp|bak|orig|rej|pyc)|__pycache__")


def check_requirements(file: Path) -> None:
    """What pip would say in many words, in a sentence."""
    if not file.exists():
        raise CannotBuild(f"{file.name} is missing: it names the packages of the functions, with hashes. {WITH_HASHES}")
    lines = re.sub(r"\\\r?\n", " ", file.read_text()).splitlines()
    wanted = [line.strip() for line in lines if line.strip() and not line.strip().startswith(("#", "-"))]
    if without := [line.split()[0] for line in wanted if "--hash=" not in line]:
        raise CannotBuild(f"{file.name} names {without[0]} without a hash. {WITH_HASHES}")
    if wanted and not any(re.match(r"awslambdaric\b", line) for line in wanted):
        raise CannotBuild(f"{file.name} does not name awslambdaric, which calls the handlers: add it, with its hash.")


# ---- The Python tree -------------------------------------------------------------------------------------------------


def python_tree(order: dict[str, Any], interpreter: Interpreter, deployable: bool) -> Path:
    """The folder with CPython and packages, made at most once for the same interpreter and requirements."""
    state, requirements = Path(order["state"]), Path(order["requirements"])
    recipe = "".join(file.read_text() for file in sorted(Path(__file__).parent.glob("*.py")))
    stat = os.stat(interpreter.base_executable)
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
    """CPython without what no function uses, in a layout that works in any folder."""
    binary = tree / "bin" / f"python{interpreter.version}"
    binary.parent.mkdir(parents=True)
    shutil.copy2(interpreter.base_executable, binary)

    def unneeded(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if name in NOT_NEEDED or NOT_NEEDED_PATTERNS.match(name)}

    stdlib = tree / "lib" / f"python{interpreter.version}"
    shutil.copytree(interpreter.stdlib, stdlib, ignore=unneeded, ignore_dangling_symlinks=True)
    if interpreter.library in linked_libraries.needed(binary):
        for folder in interpreter.library_folders:
            if Path(folder, interpreter.library).exists():
                shutil.copy2(Path(folder, interpreter.library), tree / "lib" / interpreter.library)
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
    pip = run([*pip_of(interpreter.executable), *options])
    if pip.returncode != 0:
        why = last_line(pip.stderr)
        if not NO_NETWORK.search(pip.stderr):
            raise CannotBuild(what_pip_refused(order, interpreter, pip.stderr))
        if deployable:
            raise NotDeployable(f"the packages of {order['requirements']} could not be installed ({why})")
        say(f"the packages could not be downloaded ({why}): taking those installed here")
        shutil.rmtree(target)
        copy_installed_packages(Path(order["requirements"]), target)
    prune_packages(target)


def what_pip_refused(order: dict[str, Any], interpreter: Interpreter, said: str) -> str:
    name = Path(order["requirements"]).name
    if missing := re.search(r"No matching distribution found for (\S+)", said):
        return (
            f"{missing[1]} has no wheel for CPython {interpreter.version} on Linux x86_64"
            f" (manylinux_2_{NEWEST_MANYLINUX} or older): take a version in {name} that has one, or another package."
        )
    if "DO NOT MATCH THE HASHES" in said:
        found = re.search(r"^\s+(\S+==\S+) from ", said, re.MULTILINE)
        return f"A file of {found[1] if found else 'a package'} has another hash than {name} says. {WITH_HASHES}"
    return f"pip does not install {name}: {last_line(said)}."


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
    for folder, names, files in os.walk(packages):
        for name in [name for name in names if name in ("__pycache__", "test", "tests")]:
            shutil.rmtree(Path(folder, name))
            names.remove(name)
        for name in files:
            if NOT_NEEDED_IN_PACKAGES.match(name):
                Path(folder, name).unlink()


def check_libraries(tree: Path, deployable: bool) -> None:
    """Checks that everything in the tree loads on Amazon Linux 2023: no newer glibc, no missing library."""
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
    """Compiles all modules. Unchecked: the deployed file system is read-only, and its file times mean nothing."""
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
    taken = taken_by_git(root)
    for pattern in (f"{order['functions_folder']}/**/*.py", *order["include"]):
        found = False
        for file in matching(root, pattern):
            if taken is not None and file not in taken:
                continue
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
    """The files of a pattern, without hidden ones that it does not name, editors' copies and caches."""

    def is_the_sites(path: Path) -> bool:
        hidden = (part for part in path.parts if part.startswith(".") and part not in pattern)
        return not any(hidden) and not any(map(NOT_THE_SITES.fullmatch, path.parts))

    for file in sorted(root.glob(f"{pattern}/*" if pattern.endswith("/**") else pattern)):
        if not file.is_file() or not is_the_sites(file.relative_to(root)):
            continue
        target = file.resolve()
        if not target.is_relative_to(root.resolve()) or not is_the_sites(target.relative_to(root.resolve())):
            raise CannotBuild(
                f"{file.relative_to(root)} is a link to a file that does not travel: put a copy in its place."
            )
        yield file


def taken_by_git(root: Path) -> set[Path] | None:
    """The files that git has or would take. None: this folder is in no repository, or in an ignored part of one."""
    git = ["git", "-C", str(root)]
    if run([*git, "check-ignore", "--quiet", "."]).returncode != 1:
        return None
    listed = run([*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    return {root / name for name in listed.stdout.split("\0")} if listed.returncode == 0 else None


# ---- Everything, in order --------------------------------------------------------------------------------------------


def stage(order: dict[str, Any]) -> None:
    requirements, state = Path(order["requirements"]), Path(order["state"])
    check_requirements(requirements)
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


def files_below(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def shout(text: str) -> None:
    line = "!" * 100
    say(f"\n\n{line}\n{text}\n{line}\n")


if __name__ == "__main__":
    try:
        stage(json.loads(sys.argv[1]))
    except CannotBuild as sentence:
        sys.exit(f"\npython-functions: {sentence}\n")
