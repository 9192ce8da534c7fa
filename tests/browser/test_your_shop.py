"""docs/your-shop.md, followed to the letter: every file and every command that stands in it.

What is not taken from the page: the clone is a copy of this tree, and its set-up is the one that is here.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect

from dev.planted_bugs import copied_tree
from dev.ports import free_port
from simulator.client import SimulatorClient
from tests.browser.customer import ROOT, Customer
from tests.fixtures.python_functions import netlify_build, wait_until

PAGE = (ROOT / "docs" / "your-shop.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"(?:^    .+\n)+", PAGE, re.MULTILINE)
MOST_FILES, MOST_LINES = 3, 15


def test_it_is_as_short_as_promised() -> None:
    assert set(FILES) == {"public/catalogue.json", "public/index.html"}
    assert len(FILES) <= MOST_FILES
    assert sum(text.count("\n") for text in FILES.values()) <= MOST_LINES
    assert [block.split()[0] for block in COMMANDS] == ["git", "curl", "git", "mkdir"], "each is run below"


@contextmanager
def make_dev(tree: Path, port: int, simulator_port: int) -> Iterator[None]:
    """`make dev` after its set-up."""
    for made in ("node_modules", ".venv"):
        (tree / made).symlink_to(ROOT / made)
    assert "@$(PYTHON) -m dev.make_dev" in (tree / "Makefile").read_text(encoding="utf-8")
    environment = os.environ | {"PORT": str(port), "SIM_PORT": str(simulator_port)}
    command = [sys.executable, "-m", "dev.make_dev"]
    log = tree / "make-dev.log"
    with log.open("wb") as written:
        running = subprocess.Popen(command, cwd=tree, env=environment, stdout=written, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: b"Ctrl-C ends it" in log.read_bytes() or running.poll() is not None, 240)
        assert running.poll() is None, log.read_text(errors="replace")
        yield
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(60)


def test_from_an_empty_folder_to_the_first_paid_order(page: Page, tmp_path: Path) -> None:
    tree = copied_tree(tmp_path / "my-shop")
    for name, text in FILES.items():
        (tree / name).write_text(text, encoding="utf-8")
    port, simulator_port = free_port(), free_port()
    with make_dev(tree, port, simulator_port):
        customer = Customer(page, f"http://127.0.0.1:{port}")
        customer.opens("")
        customer.enters("Name", "Wanjiku")
        customer.enters("E-mail", "wanjiku@example.com")
        customer.enters("Note to the shop", "Moi Avenue 12")
        customer.enters("M-Pesa phone number", "0700 000 001")
        customer.presses("Pay KES 850")
        customer.sees("Check your phone")
        simulator = SimulatorClient(f"http://127.0.0.1:{simulator_port}")
        simulator.wait_for_prompt("254700000001")
        phone = page.context.new_page()
        phone.goto(f"http://127.0.0.1:{simulator_port}/phone/254700000001")
        phone.get_by_label("Enter M-PESA PIN").fill("1234")
        phone.get_by_role("button", name="OK", exact=True).click()
        expect(customer.sees("Paid. Asante!")).to_contain_text("2 × Sourdough bread")  # noqa: RUF001
        assert "KES 850" in simulator.wait_for_mail("wanjiku@example.com")["subject"]
        curl = COMMANDS[1].replace(":8888/", f":{port}/")
        refused = subprocess.run(["/bin/sh", "-c", curl], capture_output=True, text=True, timeout=60, check=True)
        assert '"price_changed"' in refused.stdout
    assert customer.complaints() == []


def git(*words: str, folder: Path) -> None:
    named = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *named, *words], cwd=folder, check=True, capture_output=True, timeout=120)


def test_lipa_is_added_to_a_site_that_exists(tmp_path: Path) -> None:
    lipa, site = copied_tree(tmp_path / "lipa"), tmp_path / "site"
    git("init", folder=lipa)
    git("add", "-A", folder=lipa)
    git("commit", "-m", "Lipa", folder=lipa)
    (site / "dist").mkdir(parents=True)
    (site / "dist" / "index.html").write_text("<h1>Ours</h1>")
    (site / "netlify.toml").write_text('[build]\n  publish = "dist"\n\n[[redirects]]\n  from = "/old"\n  to = "/"\n')
    git("init", folder=site)
    commands = "".join(COMMANDS[2:]).replace("https://github.com/OWNER/lipa", str(lipa))
    subprocess.run(["/bin/sh", "-ec", commands], cwd=site, check=True, capture_output=True, timeout=120)

    settings = tomllib.loads((site / "netlify.toml").read_text(encoding="utf-8"))
    assert settings["build"]["publish"] == "dist"
    assert settings["redirects"][0]["from"] == "/old"
    assert "/api/pay/stkpush" in [rule["from"] for rule in settings["redirects"]]
    assert "headers" not in settings, "our content security policy is not for pages that are not ours"
    assert (site / "dist" / "lipa" / "lipa.js").read_bytes() == (ROOT / "public" / "lipa" / "lipa.js").read_bytes()
    (site / "dist" / "catalogue.json").write_text(FILES["public/catalogue.json"])
    build = netlify_build(site)
    assert build.returncode == 0, build.stdout + build.stderr
    built = {file.stem for file in (site / ".netlify" / "functions").glob("*.zip")}
    assert built == {"stkpush", "callback", "status", "invoice", "sweep"}
