"""Running the app: commands, servers, containers, hosts, logs and metrics."""
