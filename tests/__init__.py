"""The tests: a folder for each part of the product, and `support/`, which all of them stand on.

Nothing is mocked: a test acts over HTTP and looks at what came of it. The fixtures are in
`conftest.py`.
"""
