"""The copy of Katana's records: reading it, webhooks, feed, outbox, worker and its pages."""
