"""The command line: `main` parses it, every other module but two is one command.

`inputs` reads models and data, `advice` is what `inspect_model` advises.
"""
