"""SQLite and PostgreSQL: migrations, pooled sessions, and a database that goes away."""
