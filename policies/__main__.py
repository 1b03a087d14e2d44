"""The policy pack that the Pulumi CLI runs: `pulumi preview --policy-pack policies`.

Constructing a pack starts a server and never returns, so it happens here and nowhere else.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from pulumi_policy import PolicyPack  # noqa: E402 - the root has to be importable first

from policies.pack import policies  # noqa: E402

PolicyPack("ai-platform", policies(ROOT))
