"""What gunicorn serves and `flask` works on. Settings come from the environment and `.env`."""

from app import cli, create_app
from app.connections import keyring
from app.errors import ConfigurationError

try:
    app = create_app()
    if not cli.is_asked():
        keyring.require(app)
except ConfigurationError as error:
    app = cli.without_settings(error)
