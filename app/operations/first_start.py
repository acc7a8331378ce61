"""Prepares the volumes of compose.yaml: secrets, the database's password, a certificate.

What is there is kept, so it runs before each start. Only --sandbox gives the sandbox a client.
"""

import argparse
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from app.operations import start

CERTIFICATE_DAYS = 365


def main() -> None:
    """Write what is missing. Every failure ends with one sentence and status 1."""
    arguments = _arguments()
    try:
        password = _password(arguments.database_password)
        start.write_env({"DATABASE_URL": f"postgresql://connect:{password}@database/connect"})
        _write_certificate(arguments.certificate)
        if arguments.sandbox and not start.SANDBOX_ENV.exists():
            start.write_sandbox_env()
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m app.operations.first_start", description=__doc__
    )
    parser.add_argument("--database-password", type=Path, required=True, metavar="FILE")
    parser.add_argument("--certificate", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--sandbox", action="store_true")
    return parser.parse_args()


def _password(file: Path) -> str:
    if not file.exists():
        start.write_private(file, secrets.token_hex(32))
    return file.read_text()


def _write_certificate(folder: Path) -> None:
    """Write a self-signed certificate for localhost. The key is written before the certificate."""
    certificate_file = folder / "certificate.pem"
    if certificate_file.exists():
        return

    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    start.write_private(folder / "key.pem", private.decode())
    certificate_file.write_bytes(_self_signed(key).public_bytes(Encoding.PEM))


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


if __name__ == "__main__":
    main()
