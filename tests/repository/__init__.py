"""The repository itself: its rules, its documents, its benchmarks, and what a fork does with it."""
