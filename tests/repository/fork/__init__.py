"""What a fork puts in place of ours, as small as it can be: `test_fork.py` tries it."""
