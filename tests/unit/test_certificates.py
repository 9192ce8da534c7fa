"""Trusted certificate authorities."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from shared import certificates


def test_authorities_are_the_systems_own_where_it_has_some(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("authorities")
    hashed = tmp_path / "hashed"
    hashed.mkdir()
    (hashed / "5ad8a5d6.0").touch()
    assert certificates.system_has_authorities(_paths(cafile=bundle))
    assert certificates.system_has_authorities(_paths(capath=hashed))


def test_a_folder_openssl_cannot_look_up_is_no_authority(tmp_path: Path) -> None:
    (tmp_path / "ca-bundle.crt").touch()
    assert not certificates.system_has_authorities(_paths(capath=tmp_path))
    assert not certificates.system_has_authorities(_paths())


def test_where_the_system_has_no_authorities_certifis_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "system_has_authorities", lambda _: False)
    context = certificates.verifying_context()
    assert context.cert_store_stats()["x509_ca"] > 50
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def _paths(cafile: Path | None = None, capath: Path | None = None) -> ssl.DefaultVerifyPaths:
    def named(path: Path | None) -> str | None:
        return str(path) if path else None

    return ssl.DefaultVerifyPaths(named(cafile), named(capath), "", "", "", "")  # type: ignore[arg-type]
