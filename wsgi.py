"""What gunicorn serves: `gunicorn wsgi:app`. Settings come from the environment and `.env`."""

from app import create_app

app = create_app()
