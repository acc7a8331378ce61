"""A bakery's own web application, which knows nothing of Katana."""

import os
import secrets

from flask import Flask, abort, redirect, render_template_string, request, session
from flask_migrate import Migrate
from werkzeug.wrappers import Response

from bakery.tables import Baker, db

HOME = """<!doctype html><title>Bakery</title><h1>Good morning, {{ baker.name }}</h1>
<form method="post" action="/leave"><button>Leave</button></form>"""


def create_app() -> Flask:
    """The application."""
    app = Flask(__name__)
    app.config["SECRET_KEY"] = os.environ["SECRET_KEY"]
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["BAKERY_DATABASE"]
    db.init_app(app)
    Migrate(app, db)
    app.add_url_rule("/", view_func=home)
    app.add_url_rule("/enter", view_func=enter, methods=["POST"])
    app.add_url_rule("/leave", view_func=leave, methods=["POST"])
    return app


def signed_in() -> Baker:
    """Whose session it is; 401 where it is nobody's."""
    baker = db.session.get(Baker, session["baker"]) if "baker" in session else None
    return baker or abort(401)


def home() -> str:
    """The page of the baker who is signed in."""
    return render_template_string(HOME, baker=signed_in())


def enter() -> Response:
    """Begin a session; at this bakery a name is enough."""
    name = request.form["name"]
    baker = db.session.scalar(db.select(Baker).filter_by(name=name)) or Baker(name=name)
    db.session.add(baker)
    db.session.commit()
    session.clear()
    session["baker"] = baker.id
    session["browser"] = secrets.token_urlsafe(32)
    return redirect("/", 303)


def leave() -> Response:
    """End the session."""
    session.clear()
    return redirect("/", 303)
