"""`python -m keras_bn4` is the command `keras_bn4`."""

import sys

from keras_bn4.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
