"""Trusted certificate authorities: the system's, or certifi's where the interpreter finds none.

The interpreter that travels with a deployed function looks where its own builder kept them, and may find nothing there.
"""

from __future__ import annotations

import functools
import os
import ssl


def verifying_context() -> ssl.SSLContext:
    """Certificate and host name are verified."""
    if system_has_authorities(ssl.get_default_verify_paths()):
        return ssl.create_default_context()
    import certifi

    return ssl.create_default_context(cafile=certifi.where())


@functools.cache
def tls_context() -> ssl.SSLContext:
    """The same, made once a process: loading the authorities takes longer than a handshake. Do not change it."""
    return verifying_context()


def system_has_authorities(paths: ssl.DefaultVerifyPaths) -> bool:
    """A bundle, or a folder that OpenSSL can look up. One of plain bundles, as on Amazon Linux, is of no use."""
    if paths.cafile and os.path.getsize(paths.cafile):
        return True
    return bool(paths.capath) and any(name.endswith(".0") for name in os.listdir(paths.capath))
