"""Entry point: `python -m runtime.training --help`.

SIGTERM is heard from the first moment: torch takes seconds to import, and a process that is number 1 of its container and
has no handler is deaf to it.
"""

import sys

from runtime.training.interruption import Interruption

interruption = Interruption()
interruption.listen()

from runtime.training.train import main  # noqa: E402 - see above

sys.exit(main(sys.argv[1:], interruption))
