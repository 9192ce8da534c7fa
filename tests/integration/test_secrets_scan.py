"""Netlify's own secrets scan on this repository, with every variable of .env.example marked as a secret."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from dev.build import files_of_git
from dev.deployed_function import node
from simulator import SANDBOX_PASSKEY
from tests.integration.test_setup_env_example import example

ROOT = Path(__file__).parents[2]
NETLIFY = ROOT / "node_modules" / "@netlify" / "build"
TOML = tomllib.loads((ROOT / "netlify.toml").read_text("utf-8"))

SCAN = """
import { scanForSecrets } from %(scan)s
const { buildDir, environment, marked, enhanced } = JSON.parse(process.argv[1])
const said = []
const found = await scanForSecrets.coreStep({
  buildDir, netlifyConfig: { build: { environment } }, explicitSecretKeys: marked.join(','),
  enhancedSecretScan: enhanced, deployId: '0', logs: { stdout: said, stderr: said, outputFlusher: { flush() {} } },
}).then(() => null, (error) => error.message)
console.log(JSON.stringify({ found, said: said.join('\\n') }))
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Netlify clones."""
    clone = tmp_path_factory.mktemp("clone")
    for name in files_of_git():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, clone / name)
    return clone


def scan(folder: Path, variables: dict[str, str], *, enhanced: bool = False) -> dict[str, Any]:
    environment = {**TOML["build"]["environment"], **variables}
    asked = json.dumps(
        {"buildDir": str(folder), "environment": environment, "marked": list(variables), "enhanced": enhanced}
    )
    step = json.dumps((NETLIFY / "lib" / "plugins_core" / "secrets_scanning" / "index.js").as_uri())
    command = [node(), "--input-type=module", "-e", SCAN % {"scan": step}, asked]
    ran = subprocess.run(command, capture_output=True, check=True, text=True, timeout=120)
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return told


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"MPESA_SHORTCODE": "174379", "MPESA_PARTY_B": "600000", "MPESA_PASSKEY": SANDBOX_PASSKEY},
    ],
    ids=["the samples", "the sandbox's own"],
)
@pytest.mark.parametrize("enhanced", [False, True], ids=["marked", "marked, and what looks like one"])
def test_a_build_passes_whatever_variable_is_marked_as_a_secret(
    repository: Path, values: dict[str, str], enhanced: bool
) -> None:
    told = scan(repository, {**example(with_optional=True), **values}, enhanced=enhanced)
    assert told["found"] is None, told["said"]
    assert "No secrets detected" in told["said"]


def test_a_secret_that_stands_in_a_file_is_found(repository: Path) -> None:
    """The scan that the other test passes is at work."""
    leaked = repository / "shared" / "leaked.py"
    leaked.write_text(f'KEY = "{SANDBOX_PASSKEY}"\n')
    try:
        told = scan(repository, {"MPESA_PASSKEY": SANDBOX_PASSKEY})
    finally:
        leaked.unlink()
    assert told["found"] is not None
    assert "shared/leaked.py" in told["said"]
