"""Command lines of experiments."""

from keras_bn4.commands.inputs import add_data_dir, add_output_dir, check_folder
from keras_bn4.commands.main import Parser, finish


def main(module, description, run, options, arguments=None, *, output_dir=None):
    """Runs an experiment from the command line, with errors in one line.

    Args:
        module: String, the name of the module that Python runs.
        description: String for `--help`.
        run: Function that takes the options by name.
        options: Dict by option of the keywords of `ArgumentParser.add_argument`.
        arguments: List of strings, or `None` for those of the process.
        output_dir: Path, where `--output-dir` is by default, or `None` for experiments
            that have neither this option nor `--data-dir`.

    Returns:
        Integer, the exit status of the process.
    """
    parser = Parser(prog=f"python -m {module}", description=description)
    for name, keywords in options.items():
        parser.add_argument(name, **keywords)
    if output_dir is not None:
        add_data_dir(parser)
        add_output_dir(parser, output_dir)

    def command(parsed):
        given = {k: v for k, v in vars(parsed).items() if k != "command"}
        if output_dir is not None:
            check_folder(given["output_dir"])
        run(**given)

    parser.set_defaults(command=command)
    return finish(parser.parse_args, arguments)
