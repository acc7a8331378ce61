"""The app for gunicorn and `flask`. Settings come from the environment and `.env`."""

from app import create_app
from app.connections import start_up
from app.errors import ConfigurationError
from app.operations import commands

try:
    app = create_app()
    if not commands.is_asked():
        start_up.check(app)
except ConfigurationError as error:
    app = commands.without_settings(error)
