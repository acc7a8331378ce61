"""The database: session and engine, column types, connection pool, clock."""
