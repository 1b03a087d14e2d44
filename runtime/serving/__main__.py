"""Entry point of the container: `serve` (also without a word; SageMaker says it), `batch`, `pack`."""

import sys

word, rest = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("serve", [])
if word == "serve":
    from runtime.serving.server import main as serve

    serve()
elif word == "batch":
    from runtime.serving.batch import main as batch

    sys.exit(batch(rest))
elif word == "pack":
    from runtime.serving.pack import main as pack

    sys.exit(pack(rest))
sys.exit(f"serve, batch or pack, not {word}")
