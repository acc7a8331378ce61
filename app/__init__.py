"""create_app(): builds the Flask app from its parts."""

from collections.abc import Mapping

from flask import Flask, has_request_context
from werkzeug.middleware.proxy_fix import ProxyFix

from app import connections, mail, pages, sync
from app.database import db
from app.database.clock import Clock
from app.katana import tracing
from app.katana.bulkheads import Bulkheads
from app.katana.client import new_session
from app.operations import commands, logs
from app.settings import config, flask_config


def create_app(environ: Mapping[str, str] | None = None, clock: Clock | None = None) -> Flask:
    """The app, with the settings in `environ`: by default the process environment and `.env`.

    Raises ConfigurationError, which lists everything that is wrong with the settings.
    """
    settings = config.load(environ)
    form = logs.form_for(settings.log_format, settings.katana.redirect_uri)
    logs.set_up(form, settings.log_level)
    tracing.set_up(settings.otlp_endpoint)

    app = Flask(__name__, instance_path=str(config.INSTANCE), template_folder="../templates")
    app.config.from_mapping(flask_config.for_flask(settings))
    if settings.proxy_hops:
        hops = settings.proxy_hops
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=0, x_prefix=0)  # type: ignore[method-assign]

    db.init_app(app)
    with app.app_context():
        # Only requests are limited: a command takes no thread from a visitor.
        bulkheads = Bulkheads(settings.threads, applies=has_request_context)
        engine, keys = db.db.engine, settings.token_keys
        parts = connections.build(settings.katana, keys, engine, config.INSTANCE, clock, bulkheads)
        session = new_session()
        connections.init_app(app, parts)
        mail.init_app(app, mail.build(settings, engine, clock))
        sync.init_app(app, sync.build(settings, engine, session, parts, clock))
    pages.init_app(app, settings, session)
    commands.init_app(app, settings)
    return app
