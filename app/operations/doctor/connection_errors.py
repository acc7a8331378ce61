"""Finds out why a server does not respond: its name, its port, or its certificate."""

import socket
import ssl
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH

SECONDS = 3.0


def why(url: str, ca_file: str | None = None) -> str:
    """The reason, as the end of a sentence. Sends nothing but a TLS handshake."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((host, port), SECONDS) as sock:
            if parts.scheme == "https":
                context = ssl.create_default_context(cafile=ca_file or DEFAULT_CA_BUNDLE_PATH)
                context.wrap_socket(sock, server_hostname=host).close()
    except socket.gaierror:
        return f"no address is known for the name {host}"
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not accepted ({error.verify_message})"
    except ssl.SSLError:
        return "it does not speak TLS"
    except TimeoutError:
        return "it takes no connection in time"
    except OSError as error:
        return f"it takes no connection ({error.strerror})"
    return "it takes a connection and does not answer in time"
